/** The members of one set, when somebody opens it. */
import { elementText } from "../../compiler/render/ipsetSave.ts";
import type { SetAsk, SetView } from "../messages.ts";
import type { Bench } from "./bench.ts";
import { pushTarget } from "./push.ts";
import { Refusal } from "./refusal.ts";

/** So many members are shown. */
const MOST_MEMBERS = 1_000;

/** The set as it is when the packet of the target comes by. */
export function setView(bench: Bench, { strategy, target, node, set }: SetAsk): SetView {
  const { lane } = pushTarget(bench, strategy, target);
  const program = lane.programs.find((candidate) => candidate.node === node);
  const found = program?.kind === "tables" ? program.sets.find(({ name }) => name === set) : undefined;
  if (found === undefined) throw new Refusal(`no set ${set} on ${node}`);
  const { name, type, origin, members } = found;
  return {
    name,
    type,
    origin,
    members: members.slice(0, MOST_MEMBERS).map(elementText),
    count: members.length,
  };
}
