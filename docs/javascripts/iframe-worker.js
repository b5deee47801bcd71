// Lets the search work on a site that is opened from disk, where browsers start no workers: its
// script runs in a hidden frame instead. The theme looks for the name IFrameWorker.
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.inside = frame.contentWindow;
    // What the script posts goes to the page, and not to its own window.
    this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    this.waiting = [];
    const script = this.inside.document.createElement("script");
    script.src = url;
    script.onload = () => {
      const waiting = this.waiting;
      this.waiting = null;
      waiting.forEach((data) => this.deliver(data));
    };
    this.inside.document.body.append(script);
  }

  postMessage(data) {
    if (this.waiting) this.waiting.push(data);
    else this.deliver(data);
  }

  deliver(data) {
    this.inside.dispatchEvent(new MessageEvent("message", { data }));
  }
}

if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}
