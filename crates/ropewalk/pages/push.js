// The page of `ropewalk push`. It asks for the list every two seconds, and reads the channel that is open by the client of everybody.
import { subscribe, publish } from './ropewalk.js';

const KEPT = 500; // Lines that the live view keeps.
const EVERY_MS = 2000;
const id = name => document.getElementById(name);
let token = sessionStorage.getItem('token') ?? '';
let reader;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

// An id is a place and no time: when this page has got an event is said beside it.
function line(at, text, kind = '') {
  const list = id('events');
  const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const item = element('li', '', { class: kind });
  item.append(element('code', at, { title: `received at ${new Date().toLocaleTimeString()}` }), element('span', text));
  list.append(item);
  while (list.children.length > KEPT) list.firstChild.remove();
  if (follows) list.scrollTop = list.scrollHeight;
}

const shown = data => typeof data === 'string' ? data : `${data.length} bytes: ${[...data.slice(0, 64)].map(byte => byte.toString(16).padStart(2, '0')).join(' ')}`;

function open(name) {
  reader?.close();
  id('events').replaceChildren();
  id('title').textContent = name;
  id('publish').hidden = false;
  id('curl').textContent = `curl -d 'some text' ${location.origin}/channels/${encodeURIComponent(name)}`;
  history.replaceState(null, '', '#' + encodeURIComponent(name));
  reader = subscribe(name, {
    last: 100,
    token: token || undefined,
    onEvent: event => line(event.id, shown(event.data)),
    onGap: gap => line(gap.resumed, `${gap.missed ?? 'some'} events are gone`, 'gap'),
    onState: (state, why) => {
      say(state === 'refused' ? `refused: ${why}` : state, state === 'refused');
      // It counts as a reader from now on.
      if (state === 'open') list();
    },
  });
  list();
}

function say(text, bad = false) {
  id('state').textContent = text;
  id('state').classList.toggle('bad', bad);
}

function row({ name, rate = 0, events = 0, viewers = 0 }) {
  const made = element('tr', '');
  if (name === id('title').textContent && reader) made.setAttribute('aria-current', 'true');
  const pick = element('button', name, { title: name });
  pick.onclick = () => open(name);
  const first = element('td', '');
  first.append(pick);
  made.append(first, ...[rate.toFixed(1), events.toLocaleString(), viewers].map(text => element('td', text, { class: 'number' })));
  return made;
}

async function list() {
  try {
    const answer = await fetch('channels', { headers: token ? { Authorization: `Bearer ${token}` } : {}, cache: 'no-store' });
    id('who').hidden = !(answer.status === 401 || token);
    if (!answer.ok) throw new Error(answer.status === 401 ? 'this server wants a token' : `the server answers ${answer.status}`);
    const { channels, viewers, more } = await answer.json();
    const focused = document.activeElement?.title;
    id('channels').replaceChildren(...channels.map(row));
    if (focused) [...id('channels').querySelectorAll('button')].find(button => button.title === focused)?.focus();
    id('none').hidden = channels.length > 0;
    const many = (count, what) => `${count.toLocaleString()}${more && what === 'channel' ? '+' : ''} ${what}${count === 1 ? '' : 's'}`;
    id('summary').textContent = `${many(channels.length, 'channel')}, ${many(viewers, 'reader')}`;
    id('summary').classList.remove('bad');
  } catch (error) {
    id('summary').textContent = error instanceof TypeError ? 'the server does not answer' : error.message;
    id('summary').classList.add('bad');
  }
}

id('open').onsubmit = event => {
  event.preventDefault();
  open(id('name').value.trim());
  id('name').value = '';
};
id('publish').onsubmit = async event => {
  event.preventDefault();
  try {
    await publish(id('title').textContent, id('data').value, { token: token || undefined });
    id('data').value = '';
    say('published');
  } catch (error) {
    say(`not published: ${error.message.replace(/<[^>]*>/g, ' ').trim().slice(0, 120)}`, true);
  }
};
id('who').onsubmit = event => {
  event.preventDefault();
  token = id('token').value.trim();
  sessionStorage.setItem('token', token);
  list();
};
setInterval(() => document.hidden || list(), EVERY_MS);
if (location.hash.length > 1) open(decodeURIComponent(location.hash.slice(1)));
else list();
