/** The worker: questions in, answers out, one at a time. */
import { config } from "zod";
import { Bench } from "./engine/bench.ts";
import { nextPacket } from "./engine/next.ts";
import { isUsersMistake } from "./engine/refusal.ts";
import { setView } from "./engine/sets.ts";
import { walkAll } from "./engine/walk.ts";
import type { Kind, Questions, Reply, Request } from "./messages.ts";

// Compiled validators need `eval`, which the page's policy forbids.
config({ jitless: true });

const bench = new Bench();

const ANSWERS: { readonly [K in Kind]: (ask: Questions[K]["ask"]) => Questions[K]["answer"] } = {
  load: (ask) => bench.load(ask, () => performance.now()),
  walk: (ask) => walkAll(bench, ask),
  next: (ask) => nextPacket(bench, ask),
  set: (ask) => setView(bench, ask),
};

function replyTo<K extends Kind>({ id, kind, ask }: Request<K>): Reply {
  try {
    return { id, kind: "answer", answer: ANSWERS[kind](ask) };
  } catch (error) {
    if (isUsersMistake(error)) return { id, kind: "refusal", message: error.message, isBug: false };
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { id, kind: "refusal", message, isBug: true };
  }
}

self.addEventListener("message", ({ data }: MessageEvent<Request>) => self.postMessage(replyTo(data)));
