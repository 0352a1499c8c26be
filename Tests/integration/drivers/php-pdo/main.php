<?php
// PHP's PDO over libpq: server-side prepared statements by default, COPY and notifications through its extensions.

$database = getenv('ROUTERD_TEST_DATABASE');

function connection(string $more = ''): PDO
{
    $address = sprintf('pgsql:host=%s;port=%s;dbname=%s%s', getenv('ROUTERD_TEST_HOST'),
        getenv('ROUTERD_TEST_PORT'), getenv('ROUTERD_TEST_DATABASE'), $more);
    return new PDO($address, 'alice', '', [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function expect(mixed $got, mixed $wanted): void
{
    if ($got !== $wanted) {
        throw new Exception(var_export($got, true) . ' instead of ' . var_export($wanted, true));
    }
}

function expectError(string $sqlstate, callable $call): void
{
    try {
        $call();
    } catch (PDOException $error) {
        expect($error->errorInfo[0] ?? null, $sqlstate);
        return;
    }
    throw new Exception("no error $sqlstate");
}

function row(PDO $db, string $sql, array $parameters = []): array
{
    $statement = $db->prepare($sql);
    $statement->execute($parameters);
    return $statement->fetch(PDO::FETCH_NUM);
}

$steps = [
    'connect' => fn() => expect(row(connection(';sslmode=disable'), 'SELECT current_database()'), [$database]),
    'tls_preferred' => fn() => expect(row(connection(';sslmode=prefer'), 'SELECT 1'), [1]),
    'types' => function () {
        $row = row(connection(),
            "SELECT ?::int, ?::text, ?::float8, ?::numeric, ?::bool, ?::text, '\\x00ff'::bytea, ?::date",
            [7, 'žluť', 2.5, '12.340', 'true', null, '2024-02-29']);
        $row[6] = stream_get_contents($row[6]);
        $row[2] = (float) $row[2];
        expect($row, [7, 'žluť', 2.5, '12.340', true, null, "\0\xff", '2024-02-29']);
    },
    'prepared' => function () {
        $db = connection();
        $statement = $db->prepare('SELECT ?::int + 1');
        for ($number = 0; $number < 20; $number++) {
            $statement->execute([$number]);
            expect($statement->fetchAll(PDO::FETCH_COLUMN), [$number + 1]);
        }
        expect(row($db, 'SELECT count(*) > 0 FROM pg_prepared_statements'), [true]);
    },
    'pipeline' => 'no pipelining',
    'copy' => function () {
        $db = connection();
        $db->exec('CREATE TABLE copied (n int, body text)');
        $rows = array_map(fn($n) => "$n\t" . str_repeat('x', 50) . "\n", range(1, 10000));
        expect($db->pgsqlCopyFromArray('copied', $rows), true);
        expect(count($db->pgsqlCopyToArray('copied')), 10000);
    },
    'cancel' => 'sends no cancel request',
    'notify' => function () {
        [$listener, $notifier] = [connection(), connection()];
        $listener->exec('LISTEN news');
        $notifier->exec("NOTIFY news, 'hello'");
        $news = $listener->pgsqlGetNotify(PDO::FETCH_ASSOC, 10000);
        expect([$news['payload'], $news['pid']], ['hello', $notifier->pgsqlGetPid()]);
    },
    'transactions' => function () {
        $db = connection();
        $db->exec('CREATE TABLE kept (n int)');
        foreach ([1 => 'commit', 2 => 'rollBack'] as $number => $ending) {
            $db->beginTransaction();
            $db->exec("INSERT INTO kept VALUES ($number)");
            $db->$ending();
        }
        expect(row($db, 'SELECT sum(n)::int FROM kept'), [1]);
    },
    'errors' => function () {
        $db = connection();
        expectError('22012', fn() => row($db, 'SELECT 1 / ?::int', [0]));
        expectError('42601', fn() => $db->exec('SELEC'));
        expect(row($db, 'SELECT 1'), [1]);
    },
    'concurrent' => function () {
        $connections = array_map(fn() => connection(), range(1, 64));
        foreach ($connections as $number => $db) {
            expect(row($db, 'SELECT ?::int', [$number]), [$number]);
        }
    },
    'reconnect' => function () {
        [$ended, $other] = [connection(), connection()];
        row($other, 'SELECT pg_terminate_backend(?::int, 5000)', [$ended->pgsqlGetPid()]);
        try {
            $ended->query('SELECT 1');
            throw new Exception('a session that was ended answers');
        } catch (PDOException) {
        }
        expect(row(connection(), 'SELECT 1'), [1]);
    },
];

echo json_encode(['version' => PHP_VERSION]), "\n";
foreach ($steps as $name => $step) {
    $report = ['step' => $name];
    if (is_string($step)) {
        $report['skipped'] = $step;
    } else {
        try {
            $step();
        } catch (Throwable $error) {
            $report['error'] = (string) $error;
        }
    }
    echo json_encode($report), "\n";
}
