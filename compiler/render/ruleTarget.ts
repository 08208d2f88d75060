/** Targets as iptables-save prints them. */
import type { Target } from "../../dataplane/program.ts";
import { CHAIN_NAME_MAX_BYTES } from "../names.ts";
import { oneLine, word } from "./words.ts";

/** After a blank; empty for a rule that only counts. */
export function targetText(target: Target | undefined): string {
  if (target === undefined) return "";
  switch (target.kind) {
    case "accept":
    case "drop":
    case "return":
      return ` -j ${target.kind.toUpperCase()}`;
    case "jump":
      return ` -j ${word("chain name", target.chain, CHAIN_NAME_MAX_BYTES)}`;
    case "goto":
      return ` -g ${word("chain name", target.chain, CHAIN_NAME_MAX_BYTES)}`;
    case "reject":
      return ` -j REJECT --reject-with ${target.with}`;
    case "mark":
      return ` -j MARK --set-xmark ${hex(target.value)}/${hex(target.mask)}`;
    case "connmark": {
      const masks = `--nfmask ${hex(target.mask)} --ctmask ${hex(target.mask)}`;
      if (target.operation === "set") return ` -j CONNMARK --set-xmark ${hex(target.value)}/${hex(target.mask)}`;
      return ` -j CONNMARK --${target.operation}-mark ${masks}`;
    }
    case "notrack":
      return " -j CT --notrack";
    case "ctZone":
      return ` -j CT --zone ${target.zone}`;
    case "log":
    case "nat": {
      const options = oneLine(`${target.target} options`, target.text);
      return ` -j ${target.target}${options === "" ? "" : ` ${options}`}`;
    }
    case "opaque":
      return ` ${oneLine("target", target.text)}`;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
