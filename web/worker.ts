/** The worker of what is looked at: quick questions, of which the page needs answers at once. */
import { answerWith } from "./answering.ts";
import { Bench } from "./engine/bench.ts";
import { matrixRows } from "./engine/matrix.ts";
import { nextPacket } from "./engine/next.ts";
import { setView } from "./engine/sets.ts";
import { walkAll } from "./engine/walk.ts";

const bench = new Bench();

answerWith({
  load: (ask) => bench.load(ask, () => performance.now()),
  walk: (ask) => walkAll(bench, ask),
  next: (ask) => nextPacket(bench, ask),
  set: (ask) => setView(bench, ask),
  matrix: (ask) => matrixRows(bench, ask),
});
