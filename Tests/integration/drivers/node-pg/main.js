// node-postgres: pure JavaScript, queued queries, a pool.
const { strict: assert } = require('assert')
const { Client, Pool } = require('pg')

const options = {
  host: process.env.ROUTERD_TEST_HOST,
  port: Number(process.env.ROUTERD_TEST_PORT),
  database: process.env.ROUTERD_TEST_DATABASE,
  user: 'alice'
}

// Runs `use` with as many clients as it takes.
async function connected (use, more = {}) {
  const clients = Array.from({ length: use.length || 1 }, () => new Client({ ...options, ...more }))
  const ended = new Set() // end() of a client whose connection is gone would wait for ever
  for (const client of clients) client.on('error', () => {}).on('end', () => ended.add(client))
  await Promise.all(clients.map((client) => client.connect()))
  try {
    await use(...clients)
  } finally {
    await Promise.all(clients.map((client) => ended.has(client) || client.end()))
  }
}

async function value (client, text, values) {
  return Object.values((await client.query(text, values)).rows[0])[0]
}

const steps = {
  connect: () => connected(async (client) => {
    assert.equal(await value(client, 'SELECT current_database()'), options.database)
  }),
  tls_preferred: 'TLS or not, no preference',
  types: () => connected(async (client) => {
    const values = [7, 'žluť', 2.5, '12.340', true, null, Buffer.from([0, 255]), { a: [1] }, [1, 2]]
    const { rows } = await client.query({
      text: 'SELECT $1::int, $2::text, $3::float8, $4::numeric, $5::bool, $6::text, $7::bytea, $8::jsonb, $9::int[]',
      values,
      rowMode: 'array'
    })
    assert.deepEqual(rows[0], values)
  }),
  prepared: () => connected(async (client) => {
    for (let n = 0; n < 20; n++) {
      const { rows } = await client.query({ name: 'plus', text: 'SELECT $1::int + 1 AS n', values: [n] })
      assert.equal(rows[0].n, n + 1)
    }
    assert.equal(await value(client, 'SELECT count(*)::int FROM pg_prepared_statements'), 1)
  }),
  pipeline: 'queues queries, no pipelining',
  copy: 'needs the package pg-copy-streams',
  cancel: () => connected(async (client) => {
    const sleeping = assert.rejects(client.query('SELECT pg_sleep(20)'), { code: '57014' })
    await new Promise((resolve) => setTimeout(resolve, 300))
    const request = new Client(options)
    request.connection.on('connect', () => request.connection.cancel(client.processID, client.secretKey))
    request.connection.on('error', () => {})
    request.connection.connect(options.port, options.host)
    await sleeping
    request.connection.end()
    assert.equal(await value(client, 'SELECT 1'), 1)
  }),
  notify: () => connected(async (listener, notifier) => {
    const news = new Promise((resolve) => listener.once('notification', resolve))
    await listener.query('LISTEN news')
    await notifier.query("NOTIFY news, 'hello'")
    const { payload, processId } = await news
    assert.deepEqual([payload, processId], ['hello', notifier.processID])
  }),
  transactions: () => connected(async (client) => {
    await client.query('CREATE TABLE kept (n int)')
    for (const [number, ending] of [[1, 'COMMIT'], [2, 'ROLLBACK']]) {
      await client.query('BEGIN')
      await client.query('INSERT INTO kept VALUES ($1)', [number])
      await client.query(ending)
    }
    assert.equal(await value(client, 'SELECT sum(n)::int FROM kept'), 1)
  }),
  errors: () => connected(async (client) => {
    await assert.rejects(client.query('SELECT 1 / $1::int', [0]), { code: '22012' })
    await assert.rejects(client.query('SELEC'), { code: '42601' })
    assert.equal(await value(client, 'SELECT 1'), 1)
  }),
  concurrent: async () => {
    const pool = new Pool({ ...options, max: 64 })
    const clients = await Promise.all(Array.from({ length: 64 }, () => pool.connect()))
    const answers = await Promise.all(clients.map((client, n) => value(client, 'SELECT $1::int', [n])))
    assert.deepEqual(answers, [...Array(64).keys()])
    clients.forEach((client) => client.release())
    await pool.end()
  },
  reconnect: async () => {
    await connected(async (ended, other) => {
      await other.query('SELECT pg_terminate_backend($1, 5000)', [ended.processID])
      await assert.rejects(ended.query('SELECT 1'))
    })
    await connected(async (client) => assert.equal(await value(client, 'SELECT 1'), 1))
  }
}

async function run () {
  console.log(JSON.stringify({ version: require('pg/package.json').version }))
  for (const [step, does] of Object.entries(steps)) {
    const report = { step }
    if (typeof does === 'string') {
      report.skipped = does
    } else {
      await does().catch((error) => { report.error = error.stack })
    }
    console.log(JSON.stringify(report))
  }
}

run()
