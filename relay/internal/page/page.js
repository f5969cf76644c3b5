'use strict';

// The page polls every interval, and waits at most patience for an answer. Both are milliseconds.
const interval = 2000, patience = 8000, oldAfter = 10000, kept = 600000;

let answered = 0;   // time of the last answer, by this browser's clock
let serverTime = 0; // the same time, by the server's clock
let failure = '';   // reason for the lack of a newer answer
let status = null;
const samples = []; // of the rates

const byId = (id) => document.getElementById(id);

// h creates an element. Text is never parsed as markup.
function h(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null) e.setAttribute(name, value);
  }
  e.append(...parts(children));
  return e;
}

// parts flattens nested lists of nodes and texts. A missing part is null or false.
const parts = (list) => list.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== '' && c !== false);

// show redraws a part only if its data changed, so that focus and selection stay where they are. It
// redraws nothing between a press of a pointer and the click that follows: the button would be gone
// before it is released.
const shown = {};
const late = new Map(); // the arguments of show, for the parts that changed during a press
let isPressed = false;
function show(id, data, draw) {
  const key = JSON.stringify(data);
  late.delete(id);
  if (shown[id] === key) return;
  if (isPressed) {
    late.set(id, [data, draw]);
    return;
  }
  shown[id] = key;
  arrange(byId(id), parts([draw(data)]));
}

// release is the timer that ends a press. No press lasts longer than a second, because another
// window may get its end. A touch screen reports the click some time after the end.
let release;
document.addEventListener('pointerdown', () => {
  isPressed = true;
  endPressIn(1000);
});
for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => endPressIn(100));

function endPressIn(milliseconds) {
  clearTimeout(release);
  release = setTimeout(() => {
    isPressed = false;
    for (const [id, [data, draw]] of [...late]) show(id, data, draw);
  }, milliseconds);
}

// arrange gives an element these children. It leaves those alone that it has already, because an
// element that moves loses the focus.
function arrange(parent, children) {
  for (const old of [...parent.childNodes]) if (!children.includes(old)) old.remove();
  children.forEach((c, i) => {
    if (parent.childNodes[i] !== c) parent.insertBefore(c instanceof Node ? c : new Text(c), parent.childNodes[i] || null);
  });
}

function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return s < 0.0005 ? '0 s' : Math.ceil(s * 1000) + ' ms';
  if (s < 60) return Math.round(s) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.floor(s % 60) + ' s';
  if (s < 172800) return Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min';
  return Math.floor(s / 86400) + ' days';
}

function bytes(n) {
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) {
    if (n >= size) return (n / size).toFixed(1) + ' ' + unit;
  }
  return n + ' bytes';
}

const count = (n, one) => n + ' ' + one + (n === 1 ? '' : 's');
const clock = (text) => new Date(text).toISOString().replace('T', ' ').slice(0, 19) + ' UTC';
const shortName = (arn) => arn.slice(Math.max(arn.lastIndexOf(':'), arn.lastIndexOf('/')) + 1);
const now = () => serverTime + (Date.now() - answered);

// age creates an element that shows the time since then, and updates itself.
function age(text) {
  const e = h('time', {datetime: text, title: clock(text), 'data-age': Date.parse(text)});
  grow(e);
  return e;
}

function grow(e) { e.textContent = whole((now() - Number(e.dataset.age)) / 1000); }

const whole = (seconds) => seconds < 1 ? 'less than 1 s' : duration(seconds);

// state names a state. The color only repeats it.
function state(text, level) { return h('span', {class: 'state ' + level}, text); }

const isHeard = (r) => r.state !== 'stopped' && r.silent_seconds < 30;
const isBlind = (s) => s.problems.some((p) => p.code === 'database_unreachable');
const works = (r) => isHeard(r) && !r.superseded && (r.state === 'streaming' || r.state === 'recovering');

function problems({list, stale}) {
  if (list.length === 0) return h('p', {}, state(stale ? 'Nothing was wrong then.' : 'Nothing is wrong.', 'ok'));
  return h('ul', {class: 'cards'}, list.map((p) => h('li', {class: p.level},
    h('h3', {}, state(p.level, p.level), ': ', p.problem),
    h('p', {}, 'Next: ', p.next),
    h('p', {class: 'muted'}, 'Runbook: ', p.runbook))));
}

// path draws the four steps of an event, with the number that waits at each.
function path(s) {
  const relay = s.relays.find(works);
  const step = (name, figure, ...lines) => h('li', {}, h('h3', {}, name), h('strong', {}, figure),
    lines.filter(Boolean).map((l) => h('p', {class: 'muted'}, l)));
  return [pathTable(s, relay, step), pathLog(s, step), pathRelay(relay, step), pathDestinations(relay, step)];
}

function pathTable(s, relay, step) {
  const table = s.table ? 'Table ' + s.table.slice(s.table.indexOf('.') + 1) : 'Outbox table';
  const deferred = (s.deferrals || []).reduce((n, d) => n + d.events, 0);
  if (deferred > 0) return step(table, 'about ' + count(deferred, 'event') + (deferred === 1 ? ' waits' : ' wait'), 'for a destination or an aggregate that is deferred.');
  const b = last && last.waiting, rows = b && (b.events === 0 ? 'No row waits.' :
    (b.more ? 'More than ' : 'At most ') + count(b.events, 'row') + ' may wait: the last checkpoint does not count them as delivered.');
  if (!relay) {
    if (!b) return step(table, 'unknown', 'No relay reports which events wait.');
    return step(table, b.events === 0 ? 'nothing waits' : (b.more ? 'more than ' : '') + count(b.events, 'event') + (b.events === 1 ? ' waits' : ' wait'),
      b.oldest_at && h('span', {}, 'The oldest was written ', age(b.oldest_at), ' ago.'));
  }
  const oldest = relay.events.oldest_wait_seconds;
  // The report is some seconds older than the count.
  if (oldest === 0 || b && b.events === 0 && relay.events.in_flight === 0) return step(table, 'nothing waits', 'Every committed event is delivered or parked.');
  return step(table, duration(oldest), h('span', {}, 'The oldest undelivered event waited for this long ', age(relay.reported_at), ' ago.'), rows);
}

function pathLog(s, step) {
  if (isBlind(s)) return step('Slot ' + s.slot.name, 'unknown', 'The database does not answer.');
  if (!s.slot.exists) return step('Slot ' + s.slot.name, 'no slot', 'The log is not kept for a relay.');
  return step('Slot ' + s.slot.name, bytes(s.slot.delivery_lag_bytes), 'of log not confirmed',
    (s.slot.active ? 'A relay reads it.' : 'No relay reads it.') + ' wal_status ' + s.slot.wal_status + '.');
}

function pathRelay(relay, step) {
  if (!relay) return step('Relay', 'unknown', 'No relay works.');
  const e = relay.events;
  return step('Relay on ' + relay.host, e.in_flight + ' not delivered', 'of the events that it has read.',
    e.in_flight > 0 && 'The oldest has waited for ' + duration(e.oldest_wait_seconds) + '.',
    Math.round(e.read_per_second) + '/s read, ' + Math.round(e.delivered_per_second) + '/s delivered',
    h('span', {}, 'Reported ', age(relay.reported_at), ' ago.'));
}

function pathDestinations(relay, step) {
  const all = relay && relay.destinations || [];
  if (all.length === 0) return step('Destinations', 'unknown', 'No relay reports them.');
  const bad = all.filter((d) => d.state !== 'ok');
  const last = all.map((d) => d.last_accepted_at).filter(Boolean).sort().pop();
  return step('Destinations', bad.length === 0 ? all.length + ' ok' : bad.length + ' of ' + all.length + ' in trouble',
    last ? h('span', {}, 'The last event was accepted ', age(last), ' ago.') : 'Nothing was sent yet.');
}

// waiting describes the events of a destination that wait in the outbox table.
function waiting(d) {
  const whose = d.aggregates > 1 ? ' of ' + d.aggregates + ' aggregates, most of them of ' + d.largest + ',' : d.largest ? ' of ' + d.largest : '';
  return h('p', {}, 'About ' + count(d.events, 'event') + whose + ' wait in the table for ', age(d.since), ': ' + d.reason);
}

function destinations({list, deferrals}) {
  if (list.length === 0) return h('p', {}, 'No working relay reports its destinations.');
  return h('ul', {class: 'cards'}, list.map((d) => {
    const level = {ok: 'ok', throttled: 'warning', paused: 'warning', large_events_wait: 'warning'}[d.state] || 'critical';
    return h('li', {class: d.state === 'ok' ? '' : level}, h('h3', {}, shortName(d.name), ' ', state(d.state, level)),
      h('p', {class: 'muted'}, d.name),
      d.since && h('p', {}, d.state + ' for ', age(d.since), d.code ? ': ' + d.code : '', d.failures ? ', ' + count(d.failures, 'failure') : ''),
      d.error && h('p', {}, d.error),
      h('p', {}, count(d.delivered, 'event') + ' delivered by this relay',
        ...(d.last_accepted_at ? [', the last ', age(d.last_accepted_at), ' ago'] : []),
        d.rate_limit ? ', at most ' + Math.round(d.rate_limit) + ' requests a second' : ''),
      deferrals.filter((one) => one.destination === d.name).map(waiting));
  }));
}

function relays(list) {
  if (list.length === 0) return h('p', {}, 'Unknown: no relay has reported for this slot, or the database does not answer.');
  return h('ul', {class: 'cards'}, list.map((r) => {
    const heard = isHeard(r) && !r.superseded, level = !heard && r.state !== 'stopped' ? 'critical' : works(r) || r.state === 'standby' ? 'ok' : 'warning';
    return h('li', {class: level === 'ok' ? '' : level},
      h('h3', {}, r.host, ' ', state(heard || r.state === 'stopped' ? r.state :
        'not heard from' + (r.superseded ? ' since another relay took the slot' : '') + '; it was ' + r.state, level)),
      h('p', {}, r.state + ' for ', age(r.since), ', version ' + r.version + ', started ', age(r.started_at), ' ago'),
      h('p', {class: 'muted'}, 'Last report ', age(r.reported_at), ' ago.'),
      r.error && h('p', {}, r.error), (r.warnings || []).map((w) => h('p', {}, w)));
  }));
}

// quote quotes text as one word of a shell.
const quote = (text) => /^[\w.:/@-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'";

function command(text) {
  const button = h('button', {type: 'button', 'aria-label': 'Copy: ' + text}, 'Copy'), code = h('code', {}, text);
  button.addEventListener('click', () => copy(text, code, button));
  return h('div', {class: 'copy'}, code, button);
}

// copy writes text to the clipboard, or selects it if the browser refuses that.
async function copy(text, code, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 2000);
}

function letters(list) {
  if (list === null) return h('p', {}, 'Unknown: the database does not answer.');
  if (list.length === 0) return h('p', {}, 'None: no event is parked.');
  return h('ul', {class: 'cards'}, list.map((d) => h('li', {class: 'warning'},
    h('h3', {}, count(d.events, 'event') + ', ', state(d.code, 'warning'), ' at ' + shortName(d.destination)),
    h('p', {}, d.refused ? 'The destination refused them. ' : 'They wait behind an event of their group. ', 'The oldest is parked for ', age(d.oldest_at), '.'),
    command('relay dead-letters list --code ' + quote(d.code) + ' --destination ' + quote(d.destination)))));
}

function slot(s) {
  const facts = [], fact = (name, ...value) => facts.push(h('dt', {}, name), h('dd', {}, ...value));
  const k = s.slot, c = s.checkpoint, g = s.last_gap;
  if (isBlind(s)) {
    fact('Slot', k.name + ': unknown, the database does not answer');
    return facts;
  }
  fact('Slot', k.name + (k.exists ? ': ' + (k.active ? 'read by process ' + k.active_pid : 'not read') + ', wal_status ' + k.wal_status : ' does not exist'));
  if (k.exists) {
    fact('Log kept', bytes(k.retained_bytes) + ' on the disk of the database' +
      (k.safe_bytes === undefined ? ', without a limit' : ', ' + bytes(k.safe_bytes) + ' more until the slot is in danger'));
  }
  fact('Checkpoint', ...(c ? [c.flush_lsn + ', written ', age(c.written_at), ' ago'] : ['none']));
  if (s.recovery) fact('Recovery', s.recovery.running ? 'publishes from the table, up to seq ' + (s.recovery.published_seq || 0) : 'the next session begins with one');
  fact('Last gap', g ? clock(g.found_at) + ': ' + g.reason + '; ' +
    (g.repaired_at ? 'published from the table until ' + clock(g.repaired_at) : s.recovery ? 'being repaired' : 'published from the table') : 'none');
  if (s.replay) fact('Replay ' + s.replay.id, s.replay.state + ': ' + s.replay.sent + ' of ' + s.replay.selected + ' sent, ' + s.replay.refused + ' refused');
  return facts;
}
