// consumer.js RATE HOST:PORT: calls the Dubbo providers that the registry names, at this rate, and prints what Load in
// ../java/dubbo prints. Each call has 1 s; nothing is tried again.
'use strict';

const {Dubbo, java, setting} = require('dubbo2.js');

const INTERFACE = 'com.acme.OrderService';
const [rate, register] = [Number(process.argv[2]), process.argv[3]];

const arguments_ = order => [java.String(order)];
const dubbo = new Dubbo({
  application: {name: 'shop-node'},
  register,
  dubboInvokeTimeout: 1,
  dubboSetting: setting.match(INTERFACE, {version: '1.0.0'}),
  service: {
    orders: dubbo => dubbo.proxyService({
      dubboInterface: INTERFACE,
      methods: {create: arguments_, get: arguments_},
    }),
  },
});

let ok = 0;
let failed = 0;
let answered = new Set();
const took = [];

// The provider is known once the call has been given to one.
dubbo.use(async (context, next) => {
  const sent = Date.now();
  await next();
  const {res, err} = context.body;
  took.push(Date.now() - sent);
  if (err) {
    failed++;
    const provider = context.invokeHost ? `${context.invokeHost}:${context.invokePort}` : 'none';
    console.log(`failure ${sent} ${provider} ${String(err.message).replace(/\n/g, ' ').slice(0, 400)}`);
  } else {
    ok++;
    answered.add(res);
  }
});

function percentile(percent) {
  return took.sort((a, b) => a - b)[Math.floor((took.length - 1) * percent / 100)] || 0;
}

function report(start, due) {
  const now = Date.now();
  const fields = [
    `at=${now}`, `ok=${ok}`, `failed=${failed}`, `rate=${(due / (now - start) * 1000).toFixed(1)}`,
    `p50=${percentile(50)}`, `p99=${percentile(99)}`,
  ];
  console.log(['calls', ...fields, ...[...answered].sort()].join(' '));
  answered = new Set();
}

async function main() {
  await dubbo.ready();
  // It connects to the providers after it says that it is ready.
  const first = await dubbo.service.orders.create('order');
  if (first.err) {
    throw first.err;
  }
  [ok, took.length] = [0, 0];
  const start = Date.now();
  let due = 0;
  // All calls that are due by now, whatever became of those before.
  setInterval(() => {
    for (; start + due * 1000 / rate <= Date.now(); due++) {
      const {create, get} = dubbo.service.orders;
      (due % 2 ? create : get)('order');
    }
  }, 5);
  setInterval(() => report(start, due), 1000);
}

main().catch(error => {
  console.log(error);
  process.exit(1);
});
