/** The worker: questions in, answers out, one at a time. */
import { config } from "zod";
import { Bench } from "./engine/bench.ts";
import { compareAll } from "./engine/compare.ts";
import { matrixRows } from "./engine/matrix.ts";
import { nextPacket } from "./engine/next.ts";
import { isUsersMistake } from "./engine/refusal.ts";
import { replayOf } from "./engine/replay.ts";
import { setView } from "./engine/sets.ts";
import { timelineOf } from "./engine/timeline.ts";
import { walkAll } from "./engine/walk.ts";
import type { Kind, Questions, Reply, Request } from "./messages.ts";

// Compiled validators need `eval`, which the page's policy forbids.
config({ jitless: true });

const bench = new Bench();

const ANSWERS: {
  readonly [K in Kind]: (ask: Questions[K]["ask"]) => Questions[K]["answer"] | Promise<Questions[K]["answer"]>;
} = {
  load: (ask) => bench.load(ask, () => performance.now()),
  walk: (ask) => walkAll(bench, ask),
  next: (ask) => nextPacket(bench, ask),
  set: (ask) => setView(bench, ask),
  matrix: (ask) => matrixRows(bench, ask),
  compare: (ask) => compareAll(bench, ask),
  timeline: (ask) => timelineOf(bench, ask),
  replay: (ask) => replayOf(bench, ask),
};

async function replyTo<K extends Kind>({ id, kind, ask }: Request<K>): Promise<Reply> {
  try {
    return { id, kind: "answer", answer: await ANSWERS[kind](ask) };
  } catch (error) {
    if (isUsersMistake(error)) return { id, kind: "refusal", message: error.message, isBug: false };
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { id, kind: "refusal", message, isBug: true };
  }
}

self.addEventListener("message", async ({ data }: MessageEvent<Request>) => self.postMessage(await replyTo(data)));
