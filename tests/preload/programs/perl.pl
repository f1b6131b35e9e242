# SPDX-License-Identifier: BSD-2-Clause
use strict;
use warnings;
use threads;
use Digest::MD5 qw(md5_hex);

# Strings of all sizes up to some 100 KiB, made and unmade again.
sub work {
	my ($seed, $rounds) = @_;
	my %kept;
	my $state = $seed;
	for my $round (1 .. $rounds) {
		$state = ($state * 1103515245 + 12345) % 2147483648;
		my $text = join ",", map { $_ * $seed } 1 .. $state % 20000;
		$text =~ s/(\d+)5,/<$1>/g;
		$kept{$state % 50} = $text;
		$kept{$state % 50} .= reverse $text if $round % 3 == 0;
	}
	return md5_hex(join "\n", map { $kept{$_} } sort { $a <=> $b } keys %kept);
}

# In a child, which gives its result through a pipe.
sub in_child {
	my ($code) = @_;
	my $pid = open(my $from, "-|") // die "fork: $!";
	if (!$pid) {
		print $code->();
		exit 0;
	}
	local $/;
	my $result = <$from>;
	close $from or die "a child failed: $?";
	return $result;
}

$| = 1;
my $before = work(7, 60);
print "ok parent $before\n";
for my $n (1 .. 8) {
	print "ok child $n ", in_child(sub { work($n, 40) }), "\n";
}
my $nested = in_child(sub { in_child(sub { work(3, 40) }) });
print "ok child of a child $nested\n";

my @threads = map { my $n = $_; threads->create(sub { work($n, 40) }) } 1 .. 4;
my $beside = in_child(sub { work(11, 40) });
print "ok child beside threads $beside\n";
print "ok thread ", $_->join, "\n" for @threads;

my @words = sort map { md5_hex($_) } 1 .. 50000;
print "ok sort ", md5_hex(join "", @words), "\n";
print "ok parent again ", (work(7, 60) eq $before ? "the same" : "another"), "\n";
