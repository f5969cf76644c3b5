
function sample(s) {
  const relay = s.relays.find(works), at = Date.now();
  samples.push({at, read: relay ? relay.events.read_per_second : null, delivered: relay ? relay.events.delivered_per_second : null});
  while (samples[0].at < at - kept) samples.shift();
}

function svg(tag, attributes, ...children) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

// drawnSeconds is the time that the drawing shows: since the first sample, and at least a minute.
const drawnSeconds = (at) => Math.max(60, (at - samples[0].at) / 1000);

// lines draws a rate with one line for each period in which a relay worked.
function lines(name, top, at) {
  const stretches = [[]], width = 600 / drawnSeconds(at);
  for (const s of samples) {
    if (s[name] === null) { stretches.push([]); continue; }
    stretches.at(-1).push((600 - (at - s.at) / 1000 * width).toFixed(1) + ',' + (98 - 94 * s[name] / top).toFixed(1));
  }
  return stretches.filter((p) => p.length > 0).map((p) => svg('polyline', {class: 'line-' + name, points: p.join(' ')}));
}

function rates() {
  const at = Date.now(), last = samples.at(-1), top = Math.max(1, ...samples.flatMap((s) => [s.read || 0, s.delivered || 0]));
  if (last.read === null) return [h('p', {}, 'Unknown: no relay works.'), drawing(top, at)];
  const text = Math.round(last.read) + '/s read, ' + Math.round(last.delivered) + '/s delivered';
  return [h('p', {}, h('span', {class: 'key-read'}, '\u2504 ' + Math.round(last.read) + '/s read'), ', ',
    h('span', {class: 'key-delivered'}, '\u2500 ' + Math.round(last.delivered) + '/s delivered'), '; the top is ' + Math.round(top) + '/s, the left is ' + duration(drawnSeconds(at)) + ' ago'),
    drawing(top, at, text)];
}

function drawing(top, at, text) {
  return svg('svg', {viewBox: '0 0 600 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'Rates since this page was opened: ' + (text || 'unknown')},
    ...lines('read', top, at), ...lines('delivered', top, at));
}

function draw(s) {
  byId('level').textContent = s.level;
  byId('level').className = 'badge ' + s.level;
  document.title = s.level + ': outbox relay ' + s.slot.name;
  byId('of').textContent = 'Slot ' + s.slot.name + (s.table ? ', table ' + s.table : '');
  const working = s.relays.find(works);
  show('problems', {list: s.problems, stale: false}, problems);
  show('path', {s, last}, (data) => path(data.s));
  show('destinations', {list: working && working.destinations || [], deferrals: s.deferrals || []}, destinations);
  show('relays', s.relays, relays);
  show('letters', isBlind(s) ? null : s.dead_letters || [], letters);
  show('slot', s, slot);
  byId('rates').replaceChildren(...rates());
}

// tell shows the age of the data, and a warning if the data is too old.
function tell() {
  const old = Date.now() - answered, notice = byId('notice');
  byId('age').textContent = answered ? 'Data of ' + clock(serverTime) + ', ' + whole(old / 1000) + ' ago.' : 'No data yet.';
  const stale = answered > 0 && old > oldAfter, text = failure === '' && !stale ? '' :
    (failure || 'There is no answer.') + (answered ? ' Everything below is as it was at ' + clock(serverTime) + '.' : '');
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = text === '';
  byId('main').classList.toggle('stale', text !== '' && answered > 0);
  if (text !== '' && byId('level').textContent !== 'no answer') {
    if (status) show('problems', {list: status.problems, stale: true}, problems);
    byId('level').textContent = 'no answer';
    byId('level').className = 'badge unknown';
    document.title = 'no answer: outbox relay';
  }
  document.querySelectorAll('[data-age]').forEach(grow);
}

// ask returns the JSON of a path of this server. A response with status 503 has JSON too.
async function ask(what) {
  let response;
  try {
    response = await fetch(what, {cache: 'no-store', signal: AbortSignal.timeout(patience)});
  } catch (e) {
    throw new Error(e.name === 'TimeoutError' ? 'There was no answer within ' + patience / 1000 + ' s.' :
      'The relay does not answer: it has ended, or this browser does not reach it.');
  }
  try {
    return await response.json();
  } catch {
    throw new Error('The answer is no data: HTTP ' + response.status + '.');
  }
}

async function poll() {
  try {
    const s = await ask('status');
    if (s.version !== 1) throw new Error('This page reads version 1 of the data, and the relay answered version ' + s.version + '.');
    status = s;
    answered = Date.now();
    serverTime = Date.parse(s.at);
    failure = '';
    sample(s);
    draw(s);
    tell();
    await readEvents();
    draw(s);
  } catch (e) {
    failure = e.message;
  }
  tell();
  setTimeout(poll, interval);
}

setInterval(tell, 1000);
poll();
