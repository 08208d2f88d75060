/** A node's state as text: the recorded one, and ours. */
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import type { Program } from "../../dataplane/program.ts";
import { savesIn } from "./dumps.ts";
import type { NodeText } from "./normalise.ts";

export function recordedText(folder: string): NodeText {
  const { iptablesSave, ip6tablesSave, ipsetSave } = savesIn(folder);
  return { ipv4: iptablesSave?.text ?? "", ipv6: ip6tablesSave?.text ?? "", sets: ipsetSave?.text ?? "" };
}

export function ourText(program: Program): NodeText {
  if (program.kind !== "tables") throw new Error(`${program.strategy} programs no tables`);
  return {
    ipv4: renderIptablesSave(program, 4),
    ipv6: renderIptablesSave(program, 6),
    sets: renderIpsetSave(program),
  };
}
