/** This program once more, as a process of its own. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { RunSelf } from "../bench/runner.ts";
import { EXIT } from "./io.ts";

/** After a Ctrl-C it may finish the line at hand; who does not hear it within this time is ended. */
const GRACE_MS = 1_000;

export const runSelf: RunSelf = ({ argv, onLine, signal }) =>
  new Promise((resolve, reject) => {
    const [, main = ""] = process.argv;
    const child = spawn(process.execPath, [...process.execArgv, main, ...argv], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const stop = () => {
      child.kill("SIGINT");
      // Whoever computes without a pause hears no signal.
      setTimeout(() => child.kill("SIGKILL"), GRACE_MS).unref();
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    const lines = createInterface({ input: child.stdout });
    lines.on("line", onLine);
    const read = new Promise((done) => lines.once("close", done));
    child.once("error", reject);
    child.once("close", (code) => {
      signal.removeEventListener("abort", stop);
      void read.then(() => resolve(code ?? EXIT.interrupted));
    });
  });
