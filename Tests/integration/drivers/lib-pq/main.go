// Go's lib/pq under database/sql: a protocol of its own, cancel by context, COPY as a prepared statement.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

var database = os.Getenv("ROUTERD_TEST_DATABASE")

type step struct {
	name    string
	run     func() error
	skipped string
}

func address(sslmode string) string {
	where := url.URL{
		Scheme: "postgres", User: url.User("alice"), Path: database, RawQuery: "sslmode=" + sslmode,
		Host: os.Getenv("ROUTERD_TEST_HOST") + ":" + os.Getenv("ROUTERD_TEST_PORT"),
	}
	return where.String()
}

// with runs use on a pool that holds one connection.
func with(use func(db *sql.DB) error) func() error {
	return func() error {
		db, err := sql.Open("postgres", address("disable"))
		if err != nil {
			return err
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		return use(db)
	}
}

func expect(db interface {
	QueryRow(string, ...interface{}) *sql.Row
}, wanted string, query string, parameters ...interface{}) error {
	var got string
	if err := db.QueryRow(query, parameters...).Scan(&got); err != nil {
		return err
	}
	if got != wanted {
		return fmt.Errorf("%q instead of %q", got, wanted)
	}
	return nil
}

func expectError(err error, sqlstate string) error {
	var reported *pq.Error
	if errors.As(err, &reported) && string(reported.Code) == sqlstate {
		return nil
	}
	return fmt.Errorf("%v instead of %s", err, sqlstate)
}

// first is the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func execute(db interface {
	Exec(string, ...interface{}) (sql.Result, error)
}, query string, parameters ...interface{}) error {
	_, err := db.Exec(query, parameters...)
	return err
}

var steps = []step{
	{name: "connect", run: with(func(db *sql.DB) error { return expect(db, database, "SELECT current_database()") })},
	{name: "tls_preferred", skipped: "TLS or not, no preference"},
	{name: "types", run: with(types)},
	{name: "prepared", run: with(prepared)},
	{name: "pipeline", skipped: "no pipelining"},
	{name: "copy", run: with(copied)},
	{name: "cancel", run: with(cancelled)},
	{name: "notify", run: with(notified)},
	{name: "transactions", run: with(transactions)},
	{name: "errors", run: with(func(db *sql.DB) error {
		return first(
			expectError(expect(db, "", "SELECT 1 / $1::int", 0), "22012"),
			expectError(execute(db, "SELEC"), "42601"),
			expect(db, "1", "SELECT 1"))
	})},
	{name: "concurrent", run: concurrent},
	{name: "reconnect", run: with(reconnected)},
}

func types(db *sql.DB) error {
	var raw []byte
	var tags []int64
	var day time.Time
	var nothing sql.NullString
	err := db.QueryRow("SELECT $1::bytea, $2::int[], $3::date, $4::text", []byte{0, 255}, pq.Array([]int64{1, 2}),
		time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), nil).Scan(&raw, pq.Array(&tags), &day, &nothing)
	if err == nil && (string(raw) != "\x00\xff" || fmt.Sprint(tags) != "[1 2]" || day.Day() != 29 || nothing.Valid) {
		err = fmt.Errorf("%v %v %v %v", raw, tags, day, nothing)
	}
	return first(err,
		expect(db, "žluť", "SELECT $1::text", "žluť"), expect(db, "12.340", "SELECT $1::numeric", "12.340"),
		expect(db, "2.5", "SELECT $1::float8", 2.5), expect(db, "true", "SELECT $1::bool", true))
}

func prepared(db *sql.DB) error {
	statement, err := db.Prepare("SELECT $1::int + 1")
	if err != nil {
		return err
	}
	defer statement.Close()
	for number := 0; number < 20; number++ {
		var got int
		if err := statement.QueryRow(number).Scan(&got); err != nil || got != number+1 {
			return fmt.Errorf("%d, %v", got, err)
		}
	}
	return nil
}

func copied(db *sql.DB) error {
	if err := execute(db, "CREATE TABLE copied (n int, body text)"); err != nil {
		return err
	}
	transaction, err := db.Begin()
	if err != nil {
		return err
	}
	statement, err := transaction.Prepare(pq.CopyIn("copied", "n", "body"))
	if err != nil {
		return err
	}
	for number := 0; number < 10000; number++ {
		if _, err := statement.Exec(number, strings.Repeat("x", 50)); err != nil {
			return err
		}
	}
	_, err = statement.Exec()
	return first(err, statement.Close(), transaction.Commit(), expect(db, "10000", "SELECT count(*) FROM copied"))
}

func cancelled(db *sql.DB) error {
	soon, done := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer done()
	began := time.Now()
	_, err := db.ExecContext(soon, "SELECT pg_sleep(20)")
	if time.Since(began) > 10*time.Second {
		return errors.New("not cancelled")
	}
	return first(expectError(err, "57014"), expect(db, "1", "SELECT 1"))
}

func notified(db *sql.DB) error {
	listener := pq.NewListener(address("disable"), time.Second, time.Second, nil)
	defer listener.Close()
	if err := first(listener.Listen("news"), execute(db, "NOTIFY news, 'hello'")); err != nil {
		return err
	}
	select {
	case news := <-listener.Notify:
		if news.Extra != "hello" {
			return fmt.Errorf("%q", news.Extra)
		}
		return expect(db, fmt.Sprint(news.BePid), "SELECT pg_backend_pid()")
	case <-time.After(10 * time.Second):
		return errors.New("no notification")
	}
}

func transactions(db *sql.DB) error {
	if err := execute(db, "CREATE TABLE kept (n int)"); err != nil {
		return err
	}
	for number, end := range map[int]func(*sql.Tx) error{1: (*sql.Tx).Commit, 2: (*sql.Tx).Rollback} {
		transaction, err := db.Begin()
		if err != nil {
			return err
		}
		if err := first(execute(transaction, "INSERT INTO kept VALUES ($1)", number), end(transaction)); err != nil {
			return err
		}
	}
	return expect(db, "1", "SELECT sum(n) FROM kept")
}

func concurrent() error {
	db, err := sql.Open("postgres", address("disable"))
	if err != nil {
		return err
	}
	defer db.Close()
	var opened, finished sync.WaitGroup
	failures := make([]error, 64)
	for number := range failures {
		opened.Add(1)
		finished.Add(1)
		go func(number int) {
			defer finished.Done()
			connection, err := db.Conn(context.Background())
			opened.Done()
			if err != nil {
				failures[number] = err
				return
			}
			defer connection.Close()
			opened.Wait()
			var got int
			err = connection.QueryRowContext(context.Background(), "SELECT $1::int", number).Scan(&got)
			if err == nil && got != number {
				err = fmt.Errorf("%d instead of %d", got, number)
			}
			failures[number] = err
		}(number)
	}
	finished.Wait()
	return first(failures...)
}

func reconnected(db *sql.DB) error {
	var pid int
	if err := db.QueryRow("SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return err
	}
	err := with(func(other *sql.DB) error {
		return expect(other, "true", "SELECT pg_terminate_backend($1, 5000)", pid)
	})()
	if err != nil {
		return err
	}
	// database/sql replaces a broken connection by itself, at the latest after one failure.
	if expect(db, "1", "SELECT 1") != nil {
		err = expect(db, "1", "SELECT 1")
	}
	return first(err, expect(db, "t", "SELECT (pg_backend_pid() <> $1)::text::char", pid))
}

func main() {
	output := json.NewEncoder(os.Stdout)
	output.Encode(map[string]string{"version": os.Getenv("LIB_PQ_VERSION")})
	for _, step := range steps {
		report := map[string]string{"step": step.name}
		if step.skipped != "" {
			report["skipped"] = step.skipped
		} else if err := step.run(); err != nil {
			report["error"] = err.Error()
		}
		output.Encode(report)
	}
}
