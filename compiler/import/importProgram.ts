/** import: the text of a node's saves -> the program the node runs. The inverse of render. */
import type { Attachment, TableProgram } from "../../dataplane/program.ts";
import type { Issue } from "../issue.ts";
import type { SaveFile } from "./lines.ts";

/** What was saved on one node. A file that is absent was not saved; an empty one says that there is nothing. */
export interface NodeSaves {
  /** `iptables-save [-c]`, legacy or nft. */
  readonly iptablesSave?: SaveFile;
  /** `ip6tables-save [-c]`. */
  readonly ip6tablesSave?: SaveFile;
  /** `ipset save`. */
  readonly ipsetSave?: SaveFile;
  /** JSON: pod (`namespace/name`) to interface. Overrides the names in `attachment`. */
  readonly interfaces?: SaveFile;
  readonly node: string;
  /** Whose way of attaching pods `attachment` is; becomes `TableProgram.strategy`. */
  readonly strategy: string;
  readonly attachment: Attachment;
}

export interface ImportedProgram {
  /** Undefined when an issue is an error. */
  readonly program: TableProgram | undefined;
  readonly issues: readonly Issue[];
}

/**
 * Reads what a node held. Never throws on any text, and takes time and memory linear in it.
 *
 * What the instruction set cannot say is a warning with its place and stays in the program as an `opaque` match or
 * target, which makes a verdict `unknown` when a packet gets there. What no kernel would have held, or is no save at
 * all, is an error.
 */
export function importProgram(saves: NodeSaves): ImportedProgram {
  throw new Error(`importProgram is not written yet (${saves.node})`);
}
