// One stream of server-sent events for what is looked at. It reconnects by itself, and rests while
// nobody can see the page, so that the console may rest too.

const AGAIN_MILLISECONDS = 3000;
const KINDS = ["tick", "namespace", "deployment", "change", "charts", "experiment"];

export class Stream {
  constructor(tell, tellConnection) {
    this.tell = tell;
    this.tellConnection = tellConnection;
    this.name = undefined;
    this.source = null;
    this.timer = null;
    document.addEventListener("visibilitychange", () => this.reopen());
  }

  follow(name) {
    if (name === this.name) return;
    this.name = name;
    this.reopen();
  }

  reopen() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    if (document.hidden || this.name === undefined) return;
    const source = new EventSource(`/api/stream?deployment=${encodeURIComponent(this.name)}`);
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => this.tell(kind, JSON.parse(event.data)));
    }
    source.onopen = () => this.tellConnection("open");
    source.onerror = () => {
      this.tellConnection("lost");
      // The browser gives up when the answer is no stream: the console has another token now.
      if (source.readyState === EventSource.CLOSED) this.askWhy();
    };
    this.source = source;
  }

  async askWhy() {
    try {
      const answer = await fetch("/", { method: "HEAD" });
      if (answer.status === 401) this.tellConnection("denied");
    } catch {
      // Nobody answers: "lost" has been told already.
    }
    this.timer = setTimeout(() => this.reopen(), AGAIN_MILLISECONDS);
  }
}
