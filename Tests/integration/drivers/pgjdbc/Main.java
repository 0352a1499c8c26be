// pgjdbc: a protocol of its own, batches in one round trip, COPY through its CopyManager.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;

public class Main {
    static final String DATABASE = System.getenv("ROUTERD_TEST_DATABASE");

    interface Step {
        void run() throws Exception;
    }

    static Connection connect(String sslmode) throws SQLException {
        return DriverManager.getConnection(String.format(
            "jdbc:postgresql://%s:%s/%s?user=alice&sslmode=%s", System.getenv("ROUTERD_TEST_HOST"),
            System.getenv("ROUTERD_TEST_PORT"), DATABASE, sslmode));
    }

    static Connection connect() throws SQLException {
        return connect("disable");
    }

    static void expect(Object got, Object wanted) {
        if (!Objects.deepEquals(got, wanted)) throw new AssertionError(got + " instead of " + wanted);
    }

    static void expectError(String sqlstate, Step step) throws Exception {
        try {
            step.run();
        } catch (SQLException error) {
            expect(error.getSQLState(), sqlstate);
            return;
        }
        throw new AssertionError("no error " + sqlstate);
    }

    static void execute(Connection db, String sql) throws SQLException {
        try (var statement = db.createStatement()) {
            statement.execute(sql);
        }
    }

    static Object value(Connection db, String sql, Object... parameters) throws SQLException {
        try (var statement = db.prepareStatement(sql)) {
            for (int n = 0; n < parameters.length; n++) statement.setObject(n + 1, parameters[n]);
            try (var rows = statement.executeQuery()) {
                rows.next();
                return rows.getObject(1);
            }
        }
    }

    static void types() throws Exception {
        try (var db = connect()) {
            expect(value(db, "SELECT ?::int", 7), 7);
            expect(value(db, "SELECT ?::text", "žluť"), "žluť");
            expect(value(db, "SELECT ?::float8", 2.5), 2.5);
            expect(value(db, "SELECT ?::numeric", new BigDecimal("12.340")), new BigDecimal("12.340"));
            expect(value(db, "SELECT ?::bool", true), true);
            expect(value(db, "SELECT ?::text", (Object) null), null);
            expect(value(db, "SELECT ?::bytea", new byte[] {0, -1}), new byte[] {0, -1});
            expect(value(db, "SELECT ?::date", Date.valueOf("2024-02-29")), Date.valueOf("2024-02-29"));
            var tags = (java.sql.Array) value(db, "SELECT ?::int[]", db.createArrayOf("int4", new Integer[] {1, 2}));
            expect(tags.getArray(), new Integer[] {1, 2});
        }
    }

    /** From the fifth execution on the driver keeps a named statement and asks for binary results. */
    static void prepared() throws Exception {
        try (var db = connect(); var statement = db.prepareStatement("SELECT ?::int + 1")) {
            for (int number = 0; number < 20; number++) {
                statement.setInt(1, number);
                try (var rows = statement.executeQuery()) {
                    rows.next();
                    expect(rows.getInt(1), number + 1);
                }
            }
            expect((Long) value(db, "SELECT count(*) FROM pg_prepared_statements") > 0, true);
        }
    }

    static void pipelined() throws Exception {
        try (var db = connect()) {
            execute(db, "CREATE TABLE many (n int)");
            try (var statement = db.prepareStatement("INSERT INTO many VALUES (?)")) {
                for (int number = 0; number < 1000; number++) {
                    statement.setInt(1, number);
                    statement.addBatch();
                }
                expect(Arrays.stream(statement.executeBatch()).sum(), 1000);
            }
            expect(value(db, "SELECT sum(n) FROM many"), 499_500L);
        }
    }

    static void copied() throws Exception {
        try (var db = connect()) {
            execute(db, "CREATE TABLE copied (n int, body text)");
            var rows = new StringBuilder();
            for (int number = 0; number < 10_000; number++) rows.append(number + "\t" + "x".repeat(50) + "\n");
            var copy = db.unwrap(PGConnection.class).getCopyAPI();
            expect(copy.copyIn("COPY copied FROM STDIN", new StringReader(rows.toString())), 10_000L);
            var received = new StringWriter();
            expect(copy.copyOut("COPY copied TO STDOUT", received), 10_000L);
            expect(received.toString(), rows.toString());
        }
    }

    static void cancelled() throws Exception {
        try (var db = connect(); var statement = db.createStatement()) {
            var timer = new Timer(true);
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException error) {
                        error.printStackTrace();
                    }
                }
            }, 300);
            expectError("57014", () -> statement.execute("SELECT pg_sleep(20)"));
            expect(value(db, "SELECT 1"), 1);
        }
    }

    static void notified() throws Exception {
        try (var listener = connect(); var notifier = connect()) {
            execute(listener, "LISTEN news");
            execute(notifier, "NOTIFY news, 'hello'");
            var news = listener.unwrap(PGConnection.class).getNotifications(10_000);
            expect(news.length, 1);
            expect(news[0].getParameter(), "hello");
            expect(news[0].getPID(), notifier.unwrap(PGConnection.class).getBackendPID());
        }
    }

    static void transactions() throws Exception {
        try (var db = connect()) {
            execute(db, "CREATE TABLE kept (n int)");
            db.setAutoCommit(false);
            execute(db, "INSERT INTO kept VALUES (1)");
            db.commit();
            execute(db, "INSERT INTO kept VALUES (2)");
            db.rollback();
            expect(value(db, "SELECT sum(n) FROM kept"), 1L);
        }
    }

    static void errors() throws Exception {
        try (var db = connect()) {
            expectError("22012", () -> value(db, "SELECT 1 / ?::int", 0));
            expectError("42601", () -> execute(db, "SELEC"));
            expect(value(db, "SELECT 1"), 1);
        }
    }

    static void concurrent() throws Exception {
        var connections = new ArrayList<Connection>();
        var threads = Executors.newFixedThreadPool(64);
        try {
            List<Callable<Connection>> connects = new ArrayList<>();
            for (int number = 0; number < 64; number++) connects.add(Main::connect);
            for (Future<Connection> made : threads.invokeAll(connects)) connections.add(made.get());
            List<Callable<Object>> queries = new ArrayList<>();
            for (int number = 0; number < 64; number++) {
                var wanted = number;
                queries.add(() -> value(connections.get(wanted), "SELECT ?::int", wanted));
            }
            var wanted = 0;
            for (Future<Object> answer : threads.invokeAll(queries)) expect(answer.get(), wanted++);
        } finally {
            for (var connection : connections) connection.close();
            threads.shutdown();
        }
    }

    static void reconnected() throws Exception {
        try (var ended = connect(); var other = connect()) {
            value(other, "SELECT pg_terminate_backend(?, 5000)", ended.unwrap(PGConnection.class).getBackendPID());
            expectError("57P01", () -> value(ended, "SELECT 1"));
            expect(ended.isValid(5), false);
        }
        try (var again = connect()) {
            expect(value(again, "SELECT 1"), 1);
        }
    }

    static void namesDatabase(String sslmode) throws Exception {
        try (var db = connect(sslmode)) {
            expect(value(db, "SELECT current_database()"), DATABASE);
        }
    }

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", "\\t") + '"';
    }

    public static void main(String[] arguments) {
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("connect", () -> namesDatabase("disable"));
        steps.put("tls_preferred", () -> namesDatabase("prefer"));
        steps.put("types", Main::types);
        steps.put("prepared", Main::prepared);
        steps.put("pipeline", Main::pipelined);
        steps.put("copy", Main::copied);
        steps.put("cancel", Main::cancelled);
        steps.put("notify", Main::notified);
        steps.put("transactions", Main::transactions);
        steps.put("errors", Main::errors);
        steps.put("concurrent", Main::concurrent);
        steps.put("reconnect", Main::reconnected);
        System.out.println("{\"version\": " + quoted(org.postgresql.util.DriverInfo.DRIVER_VERSION) + "}");
        steps.forEach((name, step) -> {
            var error = "";
            try {
                step.run();
            } catch (Throwable failure) {
                error = ", \"error\": " + quoted(failure + "\n\t" + failure.getStackTrace()[0]);
            }
            System.out.println("{\"step\": " + quoted(name) + error + "}");
        });
        System.exit(0);
    }
}
