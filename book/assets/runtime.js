// One Python for a page: a worker that a click starts, that is asked by number, and stopped when it takes too long.
(() => {
  "use strict";

  const here = document.currentScript.src;
  const PATIENCE_MS = window.bytebillPatienceMs ?? 30000;
  const SERVE = "Browsers run no Python in a page that is a file. In the book's folder run: make serve, and open the address that it prints.";
  const NO_WASM = "This browser has no WebAssembly, or it is switched off, so Python cannot run here.";
  const SLOW_START = `Python has not started within ${PATIENCE_MS / 1000} s. The connection may be slow, or this site's server forbids WebAssembly (its Content-Security-Policy lacks 'wasm-unsafe-eval').`;
  const slow = (patienceMs) => `No answer within ${patienceMs / 1000} s, so Python was stopped. The next change starts it again.`;

  class Runtime {
    #worker = null;
    #ready = null;
    #asked = new Map();
    #number = 0;

    // Resolves when Python is there, with the seconds that it took; rejects with a sentence.
    start() {
      this.#ready ??= new Promise((resolve, reject) => {
        if (location.protocol === "file:") throw new Error(SERVE);
        if (typeof WebAssembly === "undefined" || typeof Worker === "undefined") throw new Error(NO_WASM);
        const began = performance.now();
        const timer = setTimeout(() => this.#stop(SLOW_START), PATIENCE_MS);
        const settle = (act, value) => { clearTimeout(timer); act(value); };
        this.#asked.set("start", { reject: (error) => settle(reject, error) });
        this.#worker = new Worker(new URL("calculator-worker.js", here), { type: "module" });
        this.#worker.onerror = () => this.#stop("The calculator's files could not be loaded or run in this browser.");
        this.#worker.onmessage = ({ data }) => {
          if (data.broken) this.#stop(`Python did not start: ${data.broken}.`);
          else if (data.ready) {
            this.#asked.delete("start");
            settle(resolve, (performance.now() - began) / 1000);
          } else this.#answered(data);
        };
      });
      this.#ready.catch(() => { this.#ready = null; });
      return this.#ready;
    }

    // What a function of the worker, "answer" or "snippet", says of what it is given, within so long.
    async ask(name, given, patienceMs = PATIENCE_MS) {
      await this.start();
      return new Promise((resolve, reject) => {
        const id = (this.#number += 1);
        const timer = setTimeout(() => this.#stop(slow(patienceMs)), patienceMs);
        this.#asked.set(id, {
          resolve: (value) => { clearTimeout(timer); resolve(value); },
          reject: (error) => { clearTimeout(timer); reject(error); },
        });
        this.#worker.postMessage({ id, function: name, given });
      });
    }

    #answered({ id, text, wrong, over }) {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (!asked) return;
      if (wrong === undefined) asked.resolve(JSON.parse(text));
      else asked.reject(new Error(`The package failed on this: ${wrong}`));
      if (over) this.#stop("Python broke down. The next change starts it again.");
    }

    #stop(sentence) {
      this.#worker?.terminate();
      this.#worker = this.#ready = null;
      const waiting = [...this.#asked.values()];
      this.#asked.clear();
      for (const each of waiting) each.reject(new Error(sentence));
    }
  }

  window.bytebillRuntime = new Runtime();
})();
