! SPDX-License-Identifier: BSD-2-Clause
! A buffer's life, see life.c.
module the_pipe
   use, intrinsic :: iso_c_binding
   use rdmalloc
   implicit none

   integer(c_int32_t), parameter :: lkey = 7
   integer(c_int) :: registered = 0

   type, bind(c) :: iovec
      type(c_ptr) :: base
      integer(c_size_t) :: length
   end type

   interface
      integer(c_int) function c_pipe(ends) bind(c, name="pipe")
         import :: c_int
         integer(c_int) :: ends(2)
      end function
      integer(c_int) function c_fork() bind(c, name="fork")
         import :: c_int
      end function
      integer(c_int) function c_waitpid(pid, status, options) bind(c, name="waitpid")
         import :: c_int
         integer(c_int), value :: pid, options
         integer(c_int) :: status
      end function
      integer(c_size_t) function c_read(fd, buffer, length) bind(c, name="read")
         import :: c_int, c_size_t, c_int8_t
         integer(c_int), value :: fd
         integer(c_int8_t) :: buffer(*)
         integer(c_size_t), value :: length
      end function
      integer(c_size_t) function c_write(fd, buffer, length) bind(c, name="write")
         import :: c_int, c_size_t, c_int8_t
         integer(c_int), value :: fd
         integer(c_int8_t) :: buffer(*)
         integer(c_size_t), value :: length
      end function
      integer(c_size_t) function c_vmsplice(fd, pages, count, flags) bind(c, name="vmsplice")
         import :: c_int, c_size_t, iovec
         integer(c_int), value :: fd, flags
         type(iovec) :: pages
         integer(c_size_t), value :: count
      end function
      subroutine c_exit(status) bind(c, name="_exit")
         import :: c_int
         integer(c_int), value :: status
      end subroutine
   end interface

contains

   integer(c_int) function reg(context, addr, length, mr) bind(c)
      type(c_ptr), value :: context, addr
      integer(c_size_t), value :: length
      type(rdm_mr) :: mr

      if (.not. c_associated(context) .and. c_associated(addr) .and. length > 0) &
         registered = registered + 1
      mr = rdm_mr(lkey, 0, c_null_ptr)
      reg = 0
   end function

   integer(c_int) function dereg(context, mr) bind(c)
      type(c_ptr), value :: context
      type(rdm_mr) :: mr

      if (.not. c_associated(context)) registered = registered - 1
      dereg = merge(0, 1, mr%lkey == lkey)
   end function

   subroutine must(done, what)
      logical, intent(in) :: done
      character(*), intent(in) :: what

      if (done) return
      write (*, '(a)') what//" failed"
      error stop 1
   end subroutine

end module

program life
   use the_pipe
   implicit none
   integer, parameter :: length = 10000
   character(len=8), target :: pool_name = "life"//c_null_char
   character(len=8), target :: rail_name = "a pipe"//c_null_char
   type(rdm_pool_config) :: config
   type(rdm_registrar) :: registrar
   type(rdm_stats) :: stats
   type(rdm_keys) :: key
   type(c_ptr) :: pool
   integer(c_int8_t), pointer :: buffer(:)
   integer(c_int8_t) :: received(length), go(1) = 0
   integer(c_int) :: device(2), gate(2), child, status
   integer(c_intptr_t) :: base, start

   config = rdm_pool_config_init()
   config%name = c_loc(pool_name)
   config%fork = RDM_FORK_COPY
   pool = rdm_pool_create(config)
   call must(c_associated(pool), "rdm_pool_create")
   call must(c_pipe(device) == 0 .and. c_pipe(gate) == 0, "pipe")
   registrar = rdm_registrar_init()
   registrar%name = c_loc(rail_name)
   registrar%reg = c_funloc(reg)
   registrar%dereg = c_funloc(dereg)
   print '(a, i0)', "rail: ", rdm_pool_add_rail(pool, registrar, c_null_ptr)

   call rdm_allocate(pool, buffer, [length])
   call must(associated(buffer), "rdm_allocate")
   call must(all(buffer == 0), "zeros")
   buffer = 1
   print '(a, i0)', "registered: ", registered
   call must(rdm_key(c_loc(buffer(length)), 0, key) == 0, "rdm_key")
   base = transfer(key%base, base)
   start = transfer(c_loc(buffer), start)
   print '(a, i0, a, i0)', "key: ", key%lkey, ", of all of it: ", &
      merge(1, 0, base <= start .and. base + key%length >= start + length)

   call must(c_vmsplice(device(2), iovec(c_loc(buffer), int(length, c_size_t)), 1_c_size_t, 0) &
      == length, "vmsplice")
   child = c_fork()
   call must(child >= 0, "fork")
   if (child == 0) then
      if (c_read(gate(1), go, 1_c_size_t) /= 1 .or. any(buffer /= 1)) call c_exit(1)
      buffer = 3
      call c_exit(0)
   end if
   buffer = 2
   call must(c_write(gate(2), go, 1_c_size_t) == 1, "write")
   call must(c_waitpid(child, status, 0) == child, "waitpid")
   print '(a, i0)', "the child read what was written before it: ", merge(1, 0, status == 0)
   call must(c_read(device(1), received, int(length, c_size_t)) == length, "read")
   print '(a, i0)', "the device read what was written since: ", merge(1, 0, all(received == 2))
   print '(a, i0)', "and so did the parent: ", merge(1, 0, all(buffer == 2))

   call rdm_deallocate(buffer)
   stats = rdm_stats_init()
   call must(rdm_pool_stats(pool, stats) == 0, "rdm_pool_stats")
   print '(a, i0)', "live: ", stats%live_blocks
   call must(rdm_pool_destroy(pool) == 0, "rdm_pool_destroy")
   print '(a, i0)', "registered: ", registered
end program
