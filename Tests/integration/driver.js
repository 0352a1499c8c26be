// Run by test_drivers.py: node-postgres against the database in ROUTERD_TEST_URL.
const assert = require('assert')
const { Client, Pool } = require('pg')

const connectionString = process.env.ROUTERD_TEST_URL

async function useClient() {
  const client = new Client({ connectionString })
  await client.connect()
  const { rows } = await client.query('SELECT $1::int AS n, current_database() AS name', [42])
  assert.strictEqual(rows[0].n, 42)
  assert.strictEqual(rows[0].name, new URL(connectionString).pathname.slice(1))

  const queued = await Promise.all([...Array(50).keys()].map((n) => client.query('SELECT $1::int AS n', [n])))
  assert.deepStrictEqual(queued.map((result) => result.rows[0].n), [...Array(50).keys()])

  const notified = new Promise((resolve) => client.once('notification', resolve))
  await client.query('LISTEN channel')
  await client.query("NOTIFY channel, 'hello'")
  const notification = await notified
  assert.strictEqual(notification.payload, 'hello')
  assert.strictEqual(notification.processId, client.processID)

  await assert.rejects(client.query('SELECT 1 / 0'), { code: '22012' })
  const large = 'x'.repeat(5_000_000)
  assert.strictEqual((await client.query('SELECT $1::text AS large', [large])).rows[0].large, large)
  await client.end()
}

async function usePool() {
  const pool = new Pool({ connectionString, max: 10 })
  await pool.query('CREATE TABLE pooled (n int)')
  await Promise.all([...Array(200).keys()].map((n) => pool.query('INSERT INTO pooled VALUES ($1)', [n])))
  const { rows } = await pool.query('SELECT count(*)::int AS count FROM pooled')
  assert.strictEqual(rows[0].count, 200)
  await pool.end()
}

useClient().then(usePool).then(
  () => console.log('passed'),
  (error) => { console.error(error); process.exit(1) })
