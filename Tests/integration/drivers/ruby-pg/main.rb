# Ruby's pg over libpq: pipeline mode, COPY with an encoder, its own cancel.
require 'json'
require 'pg'

$stdout.sync = true
DATABASE = ENV.fetch('ROUTERD_TEST_DATABASE')

def connection(**options)
  made = PG.connect(host: ENV.fetch('ROUTERD_TEST_HOST'), port: ENV.fetch('ROUTERD_TEST_PORT'), dbname: DATABASE,
                    user: 'alice', **options)
  made.set_notice_processor { |_| }
  made
end

def expect(got, wanted)
  raise "#{got.inspect} instead of #{wanted.inspect}" unless got == wanted
end

def expect_error(sqlstate)
  yield
rescue PG::Error => error
  expect(error.result&.error_field(PG::Result::PG_DIAG_SQLSTATE), sqlstate)
else
  raise "no error #{sqlstate}"
end

def value(db, sql, parameters = [])
  db.exec_params(sql, parameters).getvalue(0, 0)
end

def with(count = 1, **options)
  made = Array.new(count) { connection(**options) }
  yield(*made)
ensure
  made&.each(&:close)
end

STEPS = {
  connect: -> { with(sslmode: 'disable') { |db| expect(value(db, 'SELECT current_database()'), DATABASE) } },
  tls_preferred: -> { with(sslmode: 'prefer') { |db| expect(value(db, 'SELECT 1'), '1') } },
  types: lambda do
    with do |db|
      db.type_map_for_results = PG::BasicTypeMapForResults.new(db)
      row = db.exec_params("SELECT $1::int, $2::text, $3::float8, $4::bool, $5::text, '{1,2}'::int[], '\\x00ff'::bytea",
                           [7, 'žluť', 2.5, true, nil]).values.first
      expect(row, [7, 'žluť', 2.5, true, nil, [1, 2], "\0\xff".b])
    end
  end,
  prepared: lambda do
    with do |db|
      db.prepare('plus', 'SELECT $1::int + 1')
      20.times { |number| expect(db.exec_prepared('plus', [number]).getvalue(0, 0), (number + 1).to_s) }
    end
  end,
  pipeline: lambda do
    with do |db|
      db.enter_pipeline_mode
      50.times { |number| db.send_query_params('SELECT $1::int', [number]) }
      db.pipeline_sync
      50.times do |number|
        expect(db.get_result.getvalue(0, 0), number.to_s)
        expect(db.get_result, nil)
      end
      expect(db.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
      db.exit_pipeline_mode
    end
  end,
  copy: lambda do
    with do |db|
      db.exec('CREATE TABLE copied (n int, body text)')
      db.copy_data('COPY copied FROM STDIN', PG::TextEncoder::CopyRow.new) do
        10_000.times { |number| db.put_copy_data([number.to_s, 'x' * 50]) }
      end
      rows = 0
      db.copy_data('COPY copied TO STDOUT') { rows += 1 while db.get_copy_data }
      expect(rows, 10_000)
    end
  end,
  cancel: lambda do
    with do |db|
      began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      db.send_query('SELECT pg_sleep(20)')
      sleep 0.3
      expect(db.cancel, nil)
      expect_error('57014') { db.get_last_result }
      expect(Process.clock_gettime(Process::CLOCK_MONOTONIC) - began < 10, true)
      expect(value(db, 'SELECT 1'), '1')
    end
  end,
  notify: lambda do
    with(2) do |listener, notifier|
      listener.exec('LISTEN news')
      notifier.exec("NOTIFY news, 'hello'")
      news = nil
      listener.wait_for_notify(10) { |_, pid, payload| news = [payload, pid] }
      expect(news, ['hello', notifier.backend_pid])
    end
  end,
  transactions: lambda do
    with do |db|
      db.exec('CREATE TABLE kept (n int)')
      db.transaction { db.exec('INSERT INTO kept VALUES (1)') }
      db.transaction { db.exec('INSERT INTO kept VALUES (2)'); raise PG::RollbackTransaction } rescue nil
      expect(value(db, 'SELECT sum(n) FROM kept'), '1')
    end
  end,
  errors: lambda do
    with do |db|
      expect_error('22012') { value(db, 'SELECT 1 / $1::int', [0]) }
      expect_error('42601') { db.exec('SELEC') }
      expect(value(db, 'SELECT 1'), '1')
    end
  end,
  concurrent: lambda do
    with(64) do |*connections|
      answers = connections.each_with_index.map { |db, n| Thread.new { value(db, 'SELECT $1::int', [n]).to_i } }
      expect(answers.map(&:value), (0...64).to_a)
    end
  end,
  reconnect: lambda do
    with(2) do |ended, other|
      value(other, 'SELECT pg_terminate_backend($1::int, 5000)', [ended.backend_pid])
      begin
        value(ended, 'SELECT 1')
        raise 'a session that was ended answers'
      rescue PG::Error
        ended.reset
      end
      expect(value(ended, 'SELECT 1'), '1')
    end
  end
}.freeze

puts JSON.generate(version: PG::VERSION)
STEPS.each do |name, step|
  report = { step: name }
  begin
    step.call
  rescue StandardError => error
    report[:error] = error.full_message(highlight: false)
  end
  puts JSON.generate(report)
end
