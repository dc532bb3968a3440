// Python beside the page: loads Pyodide and the book's own package from this site, and answers one question at a time.
import { loadPyodide } from "./pyodide/pyodide.mjs";

const at = (name) => new URL(`pyodide/${name}`, import.meta.url);
const SETUP = `
import os, sys
os.environ["BYTEBILL_DATA"] = "/book/core.json"
sys.path.insert(0, "/book")
from bytebill.statement.answer import answer_text
from bytebill.statement.snippet import snippet_text
`;

async function file(name) {
  const got = await fetch(at(name));
  if (!got.ok) throw new Error(`${name} is not there (${got.status})`);
  return got.arrayBuffer();
}

async function start() {
  const [python, core, tables] = await Promise.all([
    loadPyodide({ indexURL: at("").href }),
    file("bytebill.zip"),
    file("core.json"),
  ]);
  python.unpackArchive(core, "zip", { extractDir: "/book" });
  python.FS.writeFile("/book/core.json", new Uint8Array(tables));
  python.runPython(SETUP);
  return { answer: python.globals.get("answer_text"), snippet: python.globals.get("snippet_text") };
}

const started = start();
started.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ broken: String(error.message || error).slice(0, 300) }),
);

addEventListener("message", async ({ data }) => {
  try {
    const python = await started;
    postMessage({ id: data.id, text: python[data.function](JSON.stringify(data.given)) });
  } catch (error) {
    // the last line of Python's traceback says what happened
    const lines = String(error.message || error).trim().split("\n");
    const wrong = lines[lines.length - 1].slice(0, 300);
    postMessage({ id: data.id, wrong, over: error.name !== "PythonError" }); // anything else has broken Python itself
  }
});
