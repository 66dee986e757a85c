// Reads channels of Ropewalk, and publishes to them: an ES module, which is also globalThis.ropewalk. The manual has the options.
//
//   const reader = subscribe('news', { onEvent: ({ id, data }) => show(data), onGap: gap => reload() });
//   await publish('news', 'text, or a Uint8Array');
// A reader comes back by itself behind the last id it has read.

const SILENCE = 40; // A stream beats every 15 s.
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const rest = seconds => new Promise(done => setTimeout(done, seconds * 1000));
const backoff = (base, fails) => Math.min(30, base * 2 ** fails) * (0.5 + Math.random());

async function ok(asked) {
  const response = await asked;
  if (response.ok) return response;
  throw Object.assign(new Error(await response.text()), { status: response.status });
}

async function headers(options, more) {
  const token = typeof options.token === 'function' ? await options.token() : options.token;
  return token ? { Authorization: `Bearer ${token}`, ...more } : more;
}

class Reader {
  constructor(channel, options) {
    this.channel = channel;
    this.options = options;
    this.base = options.base ?? '/channels';
    this.id = options.since === undefined ? undefined : String(options.since);
    this.transport = (options.transport ?? 'auto') === 'auto' ? 'sse' : options.transport;
    this.fails = 0;
    this.retry = 1;
    if (this.transport === 'websocket') Line.of(this.base, channel).add(this);
    else this.run();
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.abort?.abort();
    this.line?.remove(this);
    this.state('closed');
  }

  state(...state) {
    this.options.onState?.(...state);
  }

  open() {
    this.fails = 0;
    this.state('open');
  }

  refused(why) {
    this.close();
    this.state('refused', why);
  }

  place() {
    const { name, last } = this.options;
    return { ...(this.id === undefined ? { last: last ?? 0 } : { since: this.id }), ...(name && { name }) };
  }

  take(event) {
    if (this.closed) return;
    if (event.gap) {
      this.id = event.gap.resumed;
      this.options.onGap?.(event.gap);
    } else if (this.id === undefined || Number(event.id) > Number(this.id)) {
      this.id = event.id;
      const data = event.base64 === undefined ? event.data : bytes(event.base64);
      this.options.onEvent?.({ channel: this.channel, id: event.id, data });
    }
  }

  async run() {
    while (!this.closed) {
      this.state('connecting');
      try {
        await (this.transport === 'poll' ? this.poll() : this.stream());
      } catch (error) {
        if (this.closed) return;
        const final = typeof this.options.token === 'function' ? [400, 403] : [400, 401, 403];
        if (final.includes(error.status)) return this.refused(error.status);
        if (error.held && this.options.transport !== 'sse') {
          this.transport = 'poll';
          continue;
        }
      }
      if (this.closed) return;
      this.state('waiting');
      await rest(backoff(this.retry, this.fails++));
    }
  }

  // What the server answers to a request that may be given up.
  async ask(accept) {
    this.abort = new AbortController();
    const url = `${this.base}/${encodeURIComponent(this.channel)}?${new URLSearchParams(this.place())}`;
    const init = { headers: await headers(this.options, { Accept: accept }), cache: 'no-store', signal: this.abort.signal };
    const response = await ok(fetch(url, init));
    this.id ??= response.headers.get('Last-Event-ID') ?? undefined;
    return response;
  }

  async stream() {
    // The server sends at once: where nothing comes, a proxy holds it back.
    let held = true, timer;
    const watch = seconds => {
      clearTimeout(timer);
      timer = setTimeout(() => this.abort?.abort(), seconds * 1000);
    };
    watch(this.options.patience ?? 8);
    try {
      const response = await this.ask('text/event-stream');
      const input = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = '', parts; ;) {
        const { value, done } = await input.read();
        if (done) return;
        if (held) this.open();
        held = false;
        watch(SILENCE);
        parts = (text + value).split('\n\n');
        text = parts.pop();
        parts.forEach(part => this.parse(part));
      }
    } catch (error) {
      throw held && (error.name === 'AbortError' || error.status === 504) ? { held } : error;
    } finally {
      clearTimeout(timer);
    }
  }

  parse(part) {
    let id, type, data;
    for (const line of part.split('\n')) {
      const colon = line.indexOf(':');
      const value = line.slice(colon + 1).replace(/^ /, '');
      const field = line.slice(0, colon);
      if (field === 'id') id = value;
      else if (field === 'event') type = value;
      else if (field === 'data') data = data === undefined ? value : `${data}\n${value}`;
      else if (field === 'retry') this.retry = value / 1000;
    }
    if (data === undefined) return;
    this.take(type === 'gap' ? { gap: JSON.parse(data) } : type === 'binary' ? { id, base64: data } : { id, data });
  }

  async poll() {
    for (;;) {
      const timer = setTimeout(() => this.abort?.abort(), SILENCE * 1000);
      try {
        const response = await this.ask('application/json');
        if (response.status === 200) {
          const { events, gap } = await response.json();
          if (gap) this.take({ gap });
          events.forEach(event => this.take(event));
        }
        this.open();
      } finally {
        clearTimeout(timer);
      }
      if (this.closed) return;
    }
  }
}

// One WebSocket, for many channels.
class Line {
  static all = [];

  static of(base, channel) {
    return Line.all.find(line => line.base === base && !line.readers.has(channel)) ?? new Line(base);
  }

  constructor(base) {
    this.base = base;
    this.readers = new Map();
    this.fails = 0;
    Line.all.push(this);
    this.connect();
  }

  add(reader) {
    reader.line = this;
    this.readers.set(reader.channel, reader);
    reader.state('connecting');
    this.subscribe(reader);
  }

  remove(reader) {
    this.readers.delete(reader.channel);
    if (this.readers.size === 0) {
      Line.all.splice(Line.all.indexOf(this), 1);
      this.gone = true;
      this.socket.close();
    } else this.say({ unsubscribe: reader.channel });
  }

  say(message) {
    if (this.socket.readyState === 1) this.socket.send(JSON.stringify(message));
  }

  subscribe(reader) {
    this.say({ subscribe: reader.channel, ...reader.place() });
  }

  connect() {
    this.socket = new WebSocket(new URL(this.base, location.href).href.replace(/^http/, 'ws'));
    this.socket.onopen = () => this.readers.forEach(reader => this.subscribe(reader));
    this.socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    this.socket.onclose = async () => {
      if (this.gone) return;
      this.readers.forEach(reader => reader.state('waiting'));
      await rest(backoff(1, this.fails++));
      if (!this.gone) this.connect();
    };
  }

  hear(message) {
    const reader = this.readers.get(message.channel ?? message.subscribed);
    if (!reader) return;
    if (message.subscribed !== undefined) {
      this.fails = 0;
      reader.id ??= message.id;
      reader.open();
    } else if (['removed', 'busy', 'full', 'failed'].includes(message.error)) {
      rest(backoff(1, reader.fails++)).then(() => reader.closed || this.subscribe(reader));
    } else if (message.error) {
      reader.refused(message.error);
    } else reader.take(message);
  }
}

export const subscribe = (channel, options = {}) => new Reader(channel, options);

export async function publish(channel, data, options = {}) {
  const type = typeof data === 'string' ? 'text/plain; charset=utf-8' : 'application/octet-stream';
  const init = { method: 'POST', body: data, headers: await headers(options, { 'Content-Type': type }) };
  const response = await ok(fetch(`${options.base ?? '/channels'}/${encodeURIComponent(channel)}`, init));
  return (await response.json()).id;
}

globalThis.ropewalk = { subscribe, publish };
