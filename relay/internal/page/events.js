
let last = null; // the last events, from the table and the relay's memory
let found = null; // the event that the operator has requested

const levels = {accepted: 'ok', done: 'ok', waiting: 'warning', parked: 'critical', unknown: 'unknown'};
const words = {accepted: 'accepted', done: 'delivered or parked', waiting: 'waiting', parked: 'parked', unknown: 'unknown'};

// at returns a time with its age.
const at = (text) => Number.isNaN(Date.parse(text)) ? text : [clock(text) + ', ', age(text), ' ago'];

// steps returns the times of an event, and names those that are unknown.
function steps(e) {
  const facts = [], fact = (name, ...value) => facts.push(h('dt', {}, name), h('dd', {}, ...value.flat()));
  const one = (e.accepted || [])[0];
  if (e.type) fact('Type', e.type);
  if (e.aggregate_type || e.aggregate_id) fact('Aggregate', e.aggregate_type + '/' + e.aggregate_id);
  if (e.seq !== undefined) fact('Sequence', String(e.seq));
  if (e.created_at) fact('Written', at(e.created_at));
  fact('Committed', one && one.committed_at ? at(one.committed_at) : e.type ? 'yes, when is unknown' : 'unknown');
  fact('Read', one && one.read_at ? at(one.read_at) : 'unknown');
  if (!one) fact('Sent', 'unknown');
  for (const a of e.accepted || []) {
    fact('Sent', at(a.sent_at));
    fact('Accepted', at(a.accepted_at), ' by ' + a.destination);
    fact('Message id', a.message_id || 'the broker named none');
  }
  if (!one) fact('Accepted', e.state === 'done' ? 'delivered or parked; when and as which message is unknown' : e.state === 'waiting' ? 'not as far as is known' : 'unknown');
  for (const d of e.dead_letters || []) {
    fact('Dead letter ' + d.position, d.state + ' for ', age(d.parked_at), ' at ' + d.destination + ', after ' + count(d.attempts, 'attempt') + ': ' + d.code + ': ' + d.reason);
  }
  return h('dl', {class: 'facts'}, facts);
}

function event(e) {
  if (e === null) return [];
  if (e.error) return h('p', {}, state('Unknown: ' + e.error, 'unknown'));
  const open = (e.dead_letters || []).filter((d) => d.state === 'parked');
  return [h('ul', {class: 'cards'}, h('li', {class: levels[e.state] === 'ok' ? '' : levels[e.state]},
    h('h3', {}, e.id + ' ', state(e.found ? words[e.state] : 'not found', levels[e.state])),
    e.reason && h('p', {}, e.reason[0].toUpperCase() + e.reason.slice(1) + '.'),
    e.state === 'waiting' && status && status.problems.length > 0 && h('p', {}, 'See the problems above: they may hold it up.'),
    steps(e), open.map((d) => command('relay dead-letters redrive ' + d.position)))),
    (e.unknown || []).map((text) => h('p', {class: 'muted'}, 'Not known: ' + text + '.'))];
}

function lastEvents(l) {
  if (l === null || l.error) return h('p', {}, 'Unknown' + (l && l.error ? ': ' + l.error : '.'));
  const before = drawn;
  drawn = new Map();
  for (const e of l.events) {
    const key = e.id + '/' + e.seq, card = before.get(key) || {li: h('li', {}, h('div', {class: 'copy'}, h('code', {}, e.id), details(e.id)))};
    const data = JSON.stringify(e);
    if (card.data !== data) arrange(card.li, [...facts(e), card.li.lastChild]);
    card.data = data;
    drawn.set(key, card);
  }
  arrange(cards, [...drawn.values()].map((card) => card.li));
  return [l.events.length > 0 ? cards : h('p', {}, 'The table shows none.'), (l.unknown || []).map((text) => h('p', {class: 'muted'}, 'Not known: ' + text + '.'))].flat();
}

// drawn has the cards by event. A card stays while its event is in the list, because its button may
// have the focus. Its text changes with the event.
let drawn = new Map();
const cards = h('ul', {class: 'cards'});

function facts(e) {
  return [h('h3', {}, e.type || 'an event without a type', ' ', state(words[e.state], levels[e.state])),
    h('p', {}, (e.aggregate_type || e.aggregate_id ? e.aggregate_type + '/' + e.aggregate_id + ', ' : ''), ...(e.created_at ? ['written ', at(e.created_at)].flat() : []),
      (e.accepted || []).length > 0 ? ', accepted after ' + duration((Date.parse(e.accepted[0].accepted_at) - Date.parse(e.accepted[0].committed_at || e.created_at)) / 1000) : '')];
}

function details(id) {
  const button = h('button', {type: 'button', 'aria-label': 'Details of ' + id}, 'Details');
  button.addEventListener('click', () => {
    byId('id').value = id;
    find(id);
    byId('h-event').scrollIntoView();
  });
  return button;
}

// find requests one event. Each poll requests it again while it is shown.
async function find(id) {
  try {
    const e = await ask('events/' + encodeURIComponent(id));
    if (byId('id').value.trim() === id) found = e;
  } catch (e) {
    found = {error: e.message};
  }
  show('event', comparable(found), () => event(found));
}

// readEvents requests the last events, and the event that is shown.
async function readEvents() {
  try {
    last = await ask('events');
  } catch (e) {
    last = {error: e.message};
  }
  show('events', comparable(last), () => lastEvents(last));
  if (found) await find(byId('id').value.trim());
}

// comparable removes the time of the answer, which alone must not redraw anything.
const comparable = (answer) => ({...answer, at: null});

byId('ask').addEventListener('submit', (e) => {
  e.preventDefault();
  const id = byId('id').value.trim();
  if (id) find(id);
});
