// SPDX-License-Identifier: Apache-2.0
//
// The live page: polls /status.json and /traffic.json once a second while it is seen; /routes.json when
// the generation or the workers change, /errors.json as long as there are errors: what is refused need not
// make a generation.  Whatever comes from there is shown as text, never as markup.
'use strict';

const COLUMNS = ['/ s', 'requests', '4xx', '5xx', 'denied', 'mean ms'];
const PERIOD = 1000, WINDOW = 5000, SHOWN_MAX = 200;
const $ = id => document.getElementById(id);
const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const count = n => n < 1e6 ? n.toLocaleString('en') : (n / 1e6).toFixed(n < 1e8 ? 2 : 1) + ' M';
const per = n => n === 0 ? '0' : n < 10 ? n.toFixed(1) : count(Math.round(n));

let learnt = null, refused = '', services = [], cells = new Map(), samples = [];

function add(parent, tag, text, kind) {
  const node = parent.appendChild(document.createElement(tag));
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

async function ask(path) {
  const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// "inbound-vip|9080|http/v1|reviews.default.svc…" is its subset and host.
function shortName(cluster) {
  const [, port, kind, host] = cluster.split('|');
  const subset = (kind || '').split('/')[1];
  return host === undefined ? cluster : host.split('.')[0] + (subset ? ' ' + subset : '') + ':' + port;
}

function matchOf(route) {
  const kind = { exact: '= ', prefix: '', regex: '~ ', any: '' }[route.match] ?? '';
  return kind + (route.path || '/') + (route.match === 'prefix' ? '*' : '');
}

function drawRoute(body, service, port, route, index) {
  const row = add(body, 'tr');
  const match = add(row, 'th', undefined, 'match');
  match.scope = 'row';
  add(match, 'span', `${index + 1}. ${matchOf(route)}`);
  for (const header of route.headers ?? []) add(match, 'small', header);
  if (route.filters?.length) add(match, 'small', route.filters.map(f => f.replace(/^envoy\.filters\.http\./, '')).join(', '));
  if (route.origin) match.title = `${route.resource ?? ''} ${route.origin}`;
  const numbers = COLUMNS.map(() => add(row, 'td', '–', 'number'));
  numbers.forEach((node, i) => { node.dataset.label = COLUMNS[i]; });
  const split = add(row, 'td', undefined, 'split');
  const ways = (route.destinations ?? []).map(destination => {
    const way = add(split, 'div', undefined, 'way');
    const name = add(way, 'span', shortName(destination.cluster));
    name.title = destination.cluster;
    return { cluster: destination.cluster, percent: destination.percent, bar: add(name, 'i'), text: add(way, 'span', '–') };
  });
  if (route.redirect) {
    add(split, 'div', `redirects ${route.redirect} ${route.to_scheme ?? ''} ${route.to_host ?? ''} ${route.to_path ?? ''}`);
  } else if (route.direct_status) {
    add(split, 'div', `answers ${route.direct_status}`);
  }
  const rewrite = [route.rewrite_pattern, route.rewrite_pattern && '→', route.rewrite, route.rewrite_host].filter(Boolean);
  if (!route.redirect && rewrite.length) add(match, 'small', `rewritten: ${rewrite.join(' ')}`);
  cells.set(`${service.host} ${port.port} ${index}`, { numbers, ways });
}

function drawPort(service, port) {
  const section = add($('services'), 'section', undefined, 'service');
  const title = add(section, 'h2', service.host);
  add(title, 'small', ` :${port.port}`);
  const line = add(section, 'p');
  if (port.refused) add(line, 'span', 'closed: its configuration is refused; ', 'bad');
  const sums = add(line, 'span', 'no request yet');
  if (service.origin) section.title = service.origin;
  cells.set(`${service.host} ${port.port}`, { sums });
  if (!port.routes?.length) return;
  const scroll = add(section, 'div', undefined, 'scroll');
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', `routes of ${service.host}:${port.port}`);
  const table = add(scroll, 'table');
  const head = add(add(table, 'thead'), 'tr');
  add(head, 'th', 'route, in order').scope = 'col';
  for (const name of COLUMNS) add(head, 'th', name, 'number').scope = 'col';
  add(head, 'th', 'split: seen, configured').scope = 'col';
  const body = add(table, 'tbody');
  port.routes.forEach((route, index) => drawRoute(body, service, port, route, index));
}

function draw() {
  const wanted = $('filter').value.trim().toLowerCase();
  const found = services.filter(service => service.host.toLowerCase().includes(wanted));
  $('services').replaceChildren();
  cells = new Map();
  for (const service of found.slice(0, SHOWN_MAX)) for (const port of service.ports ?? []) drawPort(service, port);
  say($('shown'), found.length > SHOWN_MAX ? `the first ${SHOWN_MAX} of ${found.length}` : `${found.length} of ${services.length}`);
  if (samples.length) fill();
}

// Of one sample: by service and port, by route, by where it went.
function group(traffic) {
  const groups = new Map();
  const put = (key, entry) => {
    const sum = groups.get(key) ?? { requests: 0, denied: 0, bad4: 0, bad5: 0, us: 0 };
    sum.requests += entry.requests; sum.denied += entry.denied; sum.us += entry.duration_us;
    sum.bad4 += entry.by_class[4]; sum.bad5 += entry.by_class[5] + entry.by_class[0];
    groups.set(key, sum);
  };
  for (const entry of traffic.routes) {
    const key = `${entry.host} ${entry.port}`;
    put('', entry); put(key, entry); put(`${key} ${entry.route}`, entry);
    if (entry.cluster) put(`${key} ${entry.route} ${entry.cluster}`, entry);
  }
  return groups;
}

const zero = { requests: 0, denied: 0, bad4: 0, bad5: 0, us: 0 };

function fill() {
  const now = samples[samples.length - 1], before = samples[0];
  const seconds = (now.at - before.at) / 1000;
  const sum = key => now.groups.get(key) ?? zero;
  const rate = key => seconds > 0 ? Math.max(0, sum(key).requests - (before.groups.get(key) ?? zero).requests) / seconds : 0;
  const all = sum('');
  say($('rate'), per(rate('')));
  say($('allowed'), count(all.requests - all.denied));
  say($('denied'), count(all.denied));
  say($('failed'), count(all.bad5));
  for (const [key, cell] of cells) {
    const is = sum(key);
    if (cell.sums) {
      if (is.requests) say(cell.sums, `allowed ${count(is.requests - is.denied)}, denied ${count(is.denied)}, ${per(rate(key))} / s`);
      continue;
    }
    const figures = [per(rate(key)), count(is.requests), count(is.bad4), count(is.bad5), count(is.denied),
      is.requests ? (is.us / is.requests / 1000).toFixed(1) : '–'];
    cell.numbers.forEach((node, i) => { say(node, figures[i]); });
    cell.numbers[3].classList.toggle('bad', is.bad5 > 0);
    const seen = cell.ways.map(way => sum(`${key} ${way.cluster}`).requests);
    const whole = seen.reduce((a, b) => a + b, 0);
    cell.ways.forEach((way, i) => {
      const share = whole ? 100 * seen[i] / whole : 0;
      say(way.text, `${whole ? share.toFixed(1) + ' %' : '–'} of ${+way.percent.toFixed(1)} %`);
      way.bar.style.width = share + '%';
    });
  }
}

async function learnFaults(status) {
  const entries = status.errors === 0 ? [] : (await ask('/errors.json')).entries;
  const errors = entries.filter(entry => entry.level === 'error');
  const text = JSON.stringify(errors);
  if (text === refused) return;
  $('faults').hidden = errors.length === 0;
  $('fault-list').replaceChildren();
  for (const entry of errors.slice(0, 50)) {
    const item = add($('fault-list'), 'li', `${entry.resource ?? ''} ${entry.field ?? ''}: ${entry.text} `);
    if (entry.file) add(item, 'code', `${entry.file}:${entry.line ?? ''}`);
  }
  refused = text;
}

// A master that is started anew counts generations from the beginning: its workers tell it apart.
async function learnRoutes(status) {
  const state = [status.generation, ...status.workers.map(worker => worker.pid)].join(' ');
  if (state === learnt) return;
  services = (await ask('/routes.json')).services;
  document.title = status.waypoint ? `${status.waypoint} – cairn` : 'cairn';
  say($('waypoint'), status.waypoint ?? '');
  draw();
  learnt = state;
}

async function turn() {
  const status = await ask('/status.json');
  await learnRoutes(status);
  await learnFaults(status);
  samples.push({ at: performance.now(), groups: group(await ask('/traffic.json')) });
  while (samples.length > 2 && samples[samples.length - 1].at - samples[0].at > WINDOW) samples.shift();
  const workers = status.workers, serving = workers.filter(worker => worker.state === 'serving').length;
  say($('active'), count(workers.reduce((sum, worker) => sum + worker.active_requests, 0)));
  say($('tunnels'), count(workers.reduce((sum, worker) => sum + worker.tunnels, 0)));
  say($('generation'), String(status.generation));
  say($('workers'), serving === workers.length ? String(serving) : `${serving} of ${workers.length}`);
  say($('state'), `${status.ready ? 'ready' : 'not ready'}, version ${status.version}`);
  $('state').classList.toggle('bad', !status.ready);
  fill();
}

async function run() {
  if (!document.hidden) {
    try {
      await turn();
    } catch (error) {
      say($('state'), `the master does not answer (${error.message}); what stands here is of before`);
      $('state').classList.add('bad');
    }
  }
  setTimeout(run, PERIOD);
}

$('filter').addEventListener('input', draw);
run();
