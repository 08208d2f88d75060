/** The worker of reports, which take their time: fetched when the first one is asked for, and stopped without harm to the other. */
import { answerWith } from "./answering.ts";
import { Bench } from "./engine/bench.ts";
import { compareAll } from "./engine/compare.ts";
import { pushInBetween } from "./engine/moment.ts";
import { nextPacket } from "./engine/next.ts";
import { replayOf } from "./engine/replay.ts";
import { setView } from "./engine/sets.ts";
import { timelineOf } from "./engine/timeline.ts";
import { walkAll } from "./engine/walk.ts";

const bench = new Bench(pushInBetween);

answerWith({
  load: (ask) => bench.load(ask, () => performance.now()),
  // Of packets in the middle of a change.
  walk: (ask) => walkAll(bench, ask),
  next: (ask) => nextPacket(bench, ask),
  set: (ask) => setView(bench, ask),
  compare: (ask) => compareAll(bench, ask),
  timeline: (ask) => timelineOf(bench, ask),
  replay: (ask) => replayOf(bench, ask),
});
