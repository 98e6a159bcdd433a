// check.js HOST:PORT RESTART…: what node-zookeeper-client can do with a server, step by step. Ends with 1 if one
// failed.
'use strict';

const assert = require('assert');
const {execFile} = require('child_process');
const crypto = require('crypto');
const {promisify} = require('util');
const zookeeper = require('node-zookeeper-client');

const {ACL, CreateMode, Exception, Id, Permission, State} = zookeeper;
// How long anything may take before a step gives up. Nothing is measured by it.
const PATIENCE_MS = 60000;

const [server, ...restart] = process.argv.slice(2);
const root = `/node-${crypto.randomUUID()}`;

// Its calls, as promises.
class Handle {
  constructor(address = server, options = {}) {
    this.client = zookeeper.createClient(address, {sessionTimeout: 30000, spinDelay: 100, retries: 3, ...options});
    this.states = [];
    this.client.on('state', state => this.states.push(state.getName()));
    for (const call of ['create', 'remove', 'removeRecursive', 'setData', 'setACL', 'mkdirp', 'listSubTreeBFS']) {
      this[call] = (...rest) => promisify(this.client[call].bind(this.client))(...rest);
    }
  }

  async connect() {
    this.client.connect();
    await until('connected', () => this.client.getState() === State.SYNC_CONNECTED);
    return this;
  }

  // A read: its answer and its stat.
  read(call, path, watcher) {
    return within(call, new Promise((resolve, reject) => {
      const answer = (error, ...found) => error ? reject(error) : resolve(found);
      watcher ? this.client[call](path, watcher, answer) : this.client[call](path, answer);
    }));
  }

  async exists(path, watcher) {
    return (await this.read('exists', path, watcher))[0];
  }

  close() {
    this.client.close();
  }
}

function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`in time: ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function until(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!await holds()) {
    assert(Date.now() < end, `in time: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

async function fails(code, promise) {
  await assert.rejects(promise, error => {
    assert.strictEqual(error.getCode && error.getCode(), code, String(error));
    return true;
  });
}

// What a watcher heard.
class Heard {
  constructor() {
    this.events = [];
    this.watcher = event => this.events.push(`${event.getName()} ${event.getPath()}`);
  }

  async next(expected) {
    await until(expected, () => this.events.length);
    assert.strictEqual(this.events.shift(), expected);
  }
}

let one;
let two;

const steps = {
  async modes(place) {
    for (const mode of [CreateMode.PERSISTENT, CreateMode.EPHEMERAL]) {
      const path = `${place}/m${mode}`;
      assert.strictEqual(await one.create(path, Buffer.from('abc'), mode), path);
      const stat = await two.exists(path);
      assert.deepStrictEqual([stat.version, stat.cversion, stat.aversion, stat.dataLength], [0, 0, 0, 3]);
      assert.deepStrictEqual(stat.czxid, stat.mzxid);
      const owner = mode === CreateMode.EPHEMERAL ? one.client.getSessionId() : Buffer.alloc(8);
      assert.deepStrictEqual(stat.ephemeralOwner, owner);
    }
    assert.strictEqual(await one.create(`${place}/s-`, CreateMode.PERSISTENT_SEQUENTIAL), `${place}/s-0000000002`);
    assert.strictEqual(await one.create(`${place}/e-`, CreateMode.EPHEMERAL_SEQUENTIAL), `${place}/e-0000000003`);
    await one.mkdirp(`${place}/a/b/c`);
    // It overlooks what is deeper.
    await one.removeRecursive(`${place}/a/b`, -1);
    assert.strictEqual(await one.exists(`${place}/a/b`), null);
  },

  async errors(place) {
    await fails(Exception.NO_NODE, one.create(`${place}/none/child`));
    await fails(Exception.NODE_EXISTS, one.create(place));
    await one.create(`${place}/e`, CreateMode.EPHEMERAL);
    await fails(Exception.NO_CHILDREN_FOR_EPHEMERALS, one.create(`${place}/e/child`));
    await fails(Exception.NOT_EMPTY, one.remove(place, -1));
    await fails(Exception.BAD_VERSION, one.setData(`${place}/e`, Buffer.from('x'), 7));
    await fails(Exception.NO_NODE, one.read('getData', `${place}/none`));
    await fails(Exception.NO_NODE, one.read('getChildren', `${place}/none`));
    await fails(Exception.INVALID_ACL, one.create(`${place}/acl`, [new ACL(Permission.ALL, new Id('nonsense', 'x'))]));
  },

  async data(place) {
    assert.strictEqual((await one.setData(place, Buffer.from('grün'), 0)).version, 1);
    const [data, stat] = await two.read('getData', place);
    assert.deepStrictEqual([data.toString(), stat.version], ['grün', 1]);
    await one.create(`${place}/日本語`);
    assert.deepStrictEqual((await two.read('getChildren', place))[0], ['日本語']);
    const large = Buffer.alloc(1000000, 7);
    await one.setData(place, large, -1);
    assert(large.equals((await two.read('getData', place))[0]));
    const all = await Promise.all(Array.from({length: 500}, (_, n) => one.create(`${place}/n${n}`)));
    assert.strictEqual(all.length, 500);
    assert.strictEqual((await two.read('getChildren', place))[1].numChildren, 501);
  },

  async transactions(place) {
    const commit = transaction => new Promise(resolve => {
      transaction.commit((error, results) => resolve([error, results]));
    });
    const transaction = one.client.transaction();
    transaction.create(`${place}/a`, Buffer.from('1')).check(`${place}/a`, 0)
        .setData(`${place}/a`, Buffer.from('2'), 0).create(`${place}/b`).remove(`${place}/b`, 0);
    const [error, results] = await commit(transaction);
    assert(!error, String(error));
    assert.deepStrictEqual(results.map(result => result.type), [1, 13, 5, 1, 2]);
    assert.strictEqual(results[2].stat.version, 1);
    const [refused] = await commit(one.client.transaction().create(`${place}/c`).check(`${place}/a`, 9));
    assert.strictEqual(refused.getCode(), Exception.BAD_VERSION);
    assert.strictEqual(await one.exists(`${place}/c`), null);
  },

  async access(place) {
    const owner = await new Handle().connect();
    owner.client.addAuthInfo('digest', Buffer.from('me:secret'));
    await owner.create(`${place}/mine`, Buffer.from('x'), ACL.CREATOR_ALL_ACL);
    await fails(Exception.NO_AUTH, one.read('getData', `${place}/mine`));
    await fails(Exception.NO_AUTH, one.setData(`${place}/mine`, Buffer.from('y'), -1));
    const [acls, stat] = await owner.read('getACL', `${place}/mine`);
    assert.deepStrictEqual([acls[0].id.scheme, acls[0].permission, stat.aversion], ['digest', Permission.ALL, 0]);
    await owner.setACL(`${place}/mine`, [new ACL(Permission.ALL, Id.ANYONE_ID_UNSAFE)], 0);
    assert.strictEqual((await one.read('getData', `${place}/mine`))[0].toString(), 'x');
    owner.close();
  },

  async watches(place) {
    const heard = new Heard();
    await one.exists(`${place}/a`, heard.watcher);
    await two.create(`${place}/a`);
    await heard.next(`NODE_CREATED ${place}/a`);
    await one.read('getChildren', place, heard.watcher);
    await two.create(`${place}/b`);
    await heard.next(`NODE_CHILDREN_CHANGED ${place}`);
    await one.read('getData', `${place}/a`, heard.watcher);
    await two.setData(`${place}/a`, Buffer.from('x'), -1);
    await heard.next(`NODE_DATA_CHANGED ${place}/a`);
    await one.read('getData', `${place}/a`, heard.watcher);
    await two.remove(`${place}/a`, -1);
    await heard.next(`NODE_DELETED ${place}/a`);
    const inner = await new Handle(server + place).connect();
    await inner.read('getChildren', '/', heard.watcher);
    assert.strictEqual(await inner.create('/inner'), '/inner');
    await heard.next('NODE_CHILDREN_CHANGED /');
    inner.close();
  },

  async restart(place) {
    const handle = await new Handle().connect();
    const session = handle.client.getSessionId();
    await handle.create(`${place}/e`, CreateMode.EPHEMERAL);
    const heard = new Heard();
    await handle.exists(`${place}/soon`, heard.watcher);
    await promisify(execFile)(restart[0], restart.slice(1));
    await until('it was away', () => handle.states.includes('DISCONNECTED'));
    await until('it is back', () => handle.client.getState() === State.SYNC_CONNECTED);
    assert.deepStrictEqual(handle.client.getSessionId(), session);
    assert.deepStrictEqual((await handle.exists(`${place}/e`)).ephemeralOwner, session);
    await until('the other is back', () => two.client.getState() === State.SYNC_CONNECTED);
    await two.create(`${place}/soon`);
    await heard.next(`NODE_CREATED ${place}/soon`);
    handle.close();
    await until('the ephemeral ends with its session', async () => await two.exists(`${place}/e`) === null);
  },
};

async function main() {
  one = await new Handle().connect();
  two = await new Handle().connect();
  await one.create(root);
  const failed = [];
  for (const [name, step] of Object.entries(steps)) {
    try {
      const place = await one.create(`${root}/${name}`);
      await step(place);
      console.log(`ok ${name}`);
    } catch (error) {
      failed.push(name);
      console.log(`FAILED ${name}`, error);
    }
  }
  const passed = Object.keys(steps).length - failed.length;
  console.log(`node-zookeeper-client: ${passed} steps passed, ${failed.length} failed`);
  process.exit(failed.length ? 1 : 0);
}

main();
