# Perl's DBI over libpq: asynchronous queries for cancel, server-side prepared statements.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:async :pg_types);
use JSON::PP;
use Time::HiRes;

$| = 1;
my ($host, $port, $database) = @ENV{qw(ROUTERD_TEST_HOST ROUTERD_TEST_PORT ROUTERD_TEST_DATABASE)};
my $json = JSON::PP->new->canonical->ascii;

sub connection {
    my ($more) = @_;
    return DBI->connect("dbi:Pg:host=$host;port=$port;dbname=$database" . ($more // ''), 'alice', '',
        { AutoCommit => 1, RaiseError => 1, PrintError => 0, PrintWarn => 0, pg_enable_utf8 => -1 });
}

sub expect {
    my ($got, $wanted) = @_;
    die "'" . ($got // 'undef') . "' instead of '$wanted'\n" unless defined $got && $got eq $wanted;
}

sub expect_error {
    my ($db, $sqlstate, $call) = @_;
    die "no error $sqlstate\n" if eval { $call->(); 1 };
    expect($db->state, $sqlstate);
}

sub value { my ($db, $sql, @parameters) = @_; return ($db->selectrow_array($sql, undef, @parameters))[0] }

my @steps = (
    connect => sub { expect(value(connection(';sslmode=disable'), 'SELECT current_database()'), $database) },
    tls_preferred => sub { expect(value(connection(';sslmode=prefer'), 'SELECT 1'), 1) },
    types => sub {
        my $db = connection();
        expect(value($db, 'SELECT ?::text', 'žluť'), 'žluť');
        expect(value($db, 'SELECT ?::numeric', '12.340'), '12.340');
        expect(value($db, 'SELECT ?::date', '2024-02-29'), '2024-02-29');
        expect(join(',', @{ value($db, 'SELECT ?::int[]', [1, 2]) }), '1,2');
        my $statement = $db->prepare('SELECT ?::bytea');
        $statement->bind_param(1, "\0\xff", { pg_type => PG_BYTEA });
        $statement->execute;
        expect($statement->fetchrow_arrayref->[0], "\0\xff");
    },
    prepared => sub {
        my $db = connection();
        $db->{pg_switch_prepared} = 1;
        my $statement = $db->prepare('SELECT ?::int + 1');
        for my $number (0 .. 19) {
            $statement->execute($number);
            expect($statement->fetchall_arrayref->[0][0], $number + 1);
        }
        expect(value($db, 'SELECT count(*) > 0 FROM pg_prepared_statements'), 1);
    },
    pipeline => 'no pipelining',
    copy => sub {
        my $db = connection();
        $db->do('CREATE TABLE copied (n int, body text)');
        $db->do('COPY copied FROM STDIN');
        $db->pg_putcopydata("$_\t" . ('x' x 50) . "\n") for 1 .. 10_000;
        $db->pg_putcopyend;
        $db->do('COPY copied TO STDOUT');
        my ($rows, $line) = (0, '');
        $rows++ while $db->pg_getcopydata($line) >= 0;
        expect($rows, 10_000);
    },
    cancel => sub {
        my $db = connection();
        my $began = Time::HiRes::time();
        $db->do('SELECT pg_sleep(20)', { pg_async => PG_ASYNC });
        Time::HiRes::sleep(0.3);
        $db->pg_cancel;
        expect(value($db, 'SELECT 1'), 1);
        die "not cancelled\n" if Time::HiRes::time() - $began > 10;
    },
    notify => sub {
        my ($listener, $notifier) = (connection(), connection());
        $listener->do('LISTEN news');
        $notifier->do("NOTIFY news, 'hello'");
        $listener->do('SELECT 1');
        my ($channel, $pid, $payload) = @{ $listener->pg_notifies };
        expect("$channel $pid $payload", "news $notifier->{pg_pid} hello");
    },
    transactions => sub {
        my $db = connection();
        $db->do('CREATE TABLE kept (n int)');
        $db->begin_work; $db->do('INSERT INTO kept VALUES (1)'); $db->commit;
        $db->begin_work; $db->do('INSERT INTO kept VALUES (2)'); $db->rollback;
        expect(value($db, 'SELECT sum(n) FROM kept'), 1);
    },
    errors => sub {
        my $db = connection();
        expect_error($db, '22012', sub { value($db, 'SELECT 1 / ?::int', 0) });
        expect_error($db, '42601', sub { $db->do('SELEC') });
        expect(value($db, 'SELECT 1'), 1);
    },
    concurrent => sub {
        my @connections = map { connection() } 1 .. 64;
        $connections[$_]->do("SELECT $_ FROM pg_sleep(0.1)", { pg_async => PG_ASYNC }) for 0 .. $#connections;
        expect($_->pg_result, 1) for @connections;
    },
    reconnect => sub {
        my ($ended, $other) = (connection(), connection());
        value($other, 'SELECT pg_terminate_backend(?, 5000)', $ended->{pg_pid});
        die "a session that was ended answers\n" if eval { value($ended, 'SELECT 1'); 1 };
        die "still connected\n" if $ended->ping > 0;
        expect(value(connection(), 'SELECT 1'), 1);
    },
);

print $json->encode({ version => "$DBD::Pg::VERSION" }), "\n";
while (my ($name, $step) = splice @steps, 0, 2) {
    my $report = { step => $name };
    if (!ref $step) { $report->{skipped} = $step }
    elsif (!eval { $step->(); 1 }) { $report->{error} = "$@" }
    print $json->encode($report), "\n";
}
