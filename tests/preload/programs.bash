#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# MPI programs of Debian's packages: a benchmark of everything, a solver, a
# benchmark of messages, mpi4py with NumPy. Sourced after mpi.bash.
# shellcheck disable=SC2034 # those who source it use the variables

# NAME MPI
PROGRAMS=("hpcc openmpi" "scalapack openmpi" "scalapack mpich" "netpipe openmpi"
	"netpipe mpich" "numpy openmpi")
PROGRAM_PACKAGES=(hpcc scalapack-mpi-test netpipe-openmpi netpipe-mpich2 python3-mpi4py python3-numpy)

# program_find NAME MPI: sets program, with its first argument; fails when it is not there.
program_find() {
	case $1 in
	hpcc) program=(hpcc) ;;
	scalapack) program=(/usr/lib/*/scalapack/"$2"-tests/xdqr) ;;
	netpipe)
		program=(NPopenmpi)
		[ "$2" = openmpi ] || program=(NPmpich2)
		;;
	numpy)
		program=(/usr/bin/python3 -B "$mpi_source/numpy_mpi.py")
		/usr/bin/python3 -c 'import mpi4py, numpy' 2>/dev/null || return
		;;
	esac
	command -v "${program[0]}" >/dev/null && mpi_is_there "$2"
}

# Debian's example, with other sizes.
hpcc_input() {
	cat >hpccinf.txt <<-END
		HPLinpack benchmark input file
		Innovative Computing Laboratory, University of Tennessee
		HPL.out      output file name (if any)
		8            device out (6=stdout,7=stderr,file)
		1            # of problems sizes (N)
		$1           Ns
		1            # of NBs
		80           NBs
		0            PMAP process mapping (0=Row-,1=Column-major)
		1            # of process grids (P x Q)
		1            Ps
		2            Qs
		16.0         threshold
		1            # of panel fact
		2            PFACTs (0=left, 1=Crout, 2=Right)
		1            # of recursive stopping criterium
		4            NBMINs (>= 1)
		1            # of panels in recursion
		2            NDIVs
		1            # of recursive panel fact.
		1            RFACTs (0=left, 1=Crout, 2=Right)
		1            # of broadcast
		1            BCASTs (0=1rg,1=1rM,2=2rg,3=2rM,4=Lng,5=LnM)
		1            # of lookahead depth
		1            DEPTHs (>=0)
		2            SWAP (0=bin-exch,1=long,2=mix)
		64           swapping threshold
		0            L1 in (0=transposed,1=no-transposed) form
		0            U  in (0=transposed,1=no-transposed) form
		1            Equilibration (0=no,1=yes)
		8            memory alignment in double (> 0)
		##### This line (no. 32) is ignored (it serves as a separator). ######
		0            Number of additional problem sizes for PTRANS
		1200 10000   values of N
		0            number of additional blocking sizes for PTRANS
		40 9 8 13    values of NB
	END
}

# As many sizes as $1; the program has memory for no larger ones.
scalapack_input() {
	local sizes=(500 450 400 480 420 490 440 470)
	cat >QR.dat <<-END
		'ScaLAPACK, orthogonal factorizations input file'
		'MPI machine'
		'QR.out'	output file name (if any)
		6	device out
		5	number of factorizations
		'QR' 'QL' 'LQ' 'RQ' 'TZ'	factorizations
		$1	number of problem sizes
		400 400 400 400 400 400 400 400	values of M
		${sizes[*]}	values of N
		1	number of blocking sizes
		32	values of MB
		32	values of NB
		1	number of process grids
		2	values of P
		1	values of Q
		5.0	threshold
	END
}

# program_prepare NAME short|long: input, in this directory, and the last arguments.
program_prepare() {
	case $1-$2 in
	hpcc-short) hpcc_input 500 ;;
	hpcc-long) hpcc_input 1000 ;;
	scalapack-short) scalapack_input 2 ;;
	scalapack-long) scalapack_input 5 ;;
	netpipe-short) program+=(-i -n 10 -u 4194304) ;;
	netpipe-long) program+=(-n 5 -u 4194304) ;;
	numpy-short) program+=(512 2) ;;
	numpy-long) program+=(1024 4) ;;
	esac
}

# program_result NAME: of its output, on standard input, what no clock has a part in.
program_result() {
	case $1 in
	hpcc)
		cat >/dev/null
		# Not the "Scaled residual": its matrices are drawn by the clock.
		grep -E 'Found |tests completed|Node\(s\) with error|Ax-b|^Success|_N=|Errors=|residual=' hpccoutf.txt
		;;
	scalapack) sed -E 's/^((WALL|CPU)( +[0-9]+){6}) +[0-9.]+ +[0-9.]+/\1/' ;;
	# Ranks say their names in the midst of a line, and one may be ahead of the other's lines.
	netpipe) grep -oE '[0-9]+ bytes +[0-9]+ times|Integrity check [a-z]+' | sort ;;
	numpy) cat ;;
	esac
}
