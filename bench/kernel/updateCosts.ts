/** What commands of an update cost this machine: starting one, and each element or rule that it carries. */
import type { Attachment } from "../../dataplane/program.ts";
import { KernelNode } from "../../verify/kernel/node.ts";
import type { Variant } from "../../verify/kernel/rules.ts";
import type { Coefficient } from "../model/profile.ts";
import { UPDATE_COST } from "../model/updateCost.ts";
import { median, medianInterval } from "../statistics.ts";

/** Commands one after the other whose time is taken together. */
const COMMANDS = 20;
/** Elements, or rules, of one restore. */
const PARTS = 4_000;
/** Measurements of each kind. */
export const UPDATE_PASSES = 7;

/** Measurements by kind of work. */
export class UpdateCosts {
  readonly #found = new Map<string, number[]>();

  note(kind: string, ns: number): void {
    this.#found.set(kind, [...(this.#found.get(kind) ?? []), Math.max(0, ns)]);
  }

  coefficients(): Readonly<Record<string, Coefficient>> {
    return Object.fromEntries(
      [...this.#found].map(([kind, values]) => {
        const [low, high] = medianInterval([values], 1);
        return [kind, { ns: median(values), ci95: [low, high] as [number, number] }];
      }),
    );
  }
}

/** The shell takes the time itself: to start the shell is no part of it. */
function timed(command: string): string {
  return `t=$(date +%s%N); ${command}; echo $(($(date +%s%N) - t))`;
}

function repeated(command: string): string {
  return timed(`i=0; while [ $i -lt ${COMMANDS} ]; do ${command}; i=$((i + 1)); done >/dev/null`);
}

function restored(tool: string, input: string): string {
  return `cat >/tmp/chainwalk-update-$$ <<'END'\n${input}END\n${timed(`${tool} </tmp/chainwalk-update-$$`)}; rm /tmp/chainwalk-update-$$`;
}

/** Of a node with small tables; commits of large ones cost more, by the rules that they carry. */
export async function measureUpdates(
  attachment: Attachment,
  variant: Variant,
  proceed: () => Promise<boolean>,
): Promise<Readonly<Record<string, Coefficient>>> {
  const iptables = `iptables-${variant}`;
  const addresses = Array.from({ length: PARTS }, (_, index) => `10.77.${index >> 8}.${index & 255}`);
  const costs = new UpdateCosts();
  const note = (kind: string, ns: number) => costs.note(kind, ns);
  const node = await KernelNode.start(attachment, { variant, walks: false });
  const ask = (script: string) => Number(node.run(script).trim().split("\n").at(-1));
  try {
    for (let time = 0; time < UPDATE_PASSES; time++) {
      node.run("ipset create cw hash:ip");
      note(UPDATE_COST.ipset, ask(repeated("ipset -exist add cw 10.77.0.1")) / COMMANDS);
      const emptyRestore = ask(repeated("echo 'flush cw' | ipset restore")) / COMMANDS;
      note(UPDATE_COST.ipsetRestore, emptyRestore);
      const filled = ask(restored("ipset restore", addresses.map((each) => `add cw ${each}\n`).join("")));
      note(UPDATE_COST.element, (filled - emptyRestore) / PARTS);
      node.run("ipset destroy cw");
      node.run(`${iptables} -w -N CW`);
      note(UPDATE_COST.iptables, ask(repeated(`${iptables} -w -A CW -s 10.77.0.1 -j RETURN`)) / COMMANDS);
      node.run(`${iptables} -w -F CW; ${iptables} -w -X CW`);
      const commit = ask(repeated(`printf '*filter\\nCOMMIT\\n' | ${iptables}-restore --noflush`)) / COMMANDS;
      note(UPDATE_COST.iptablesRestore, commit);
      const rules = addresses.map((each) => `-A CW -s ${each} -m comment --comment x -j RETURN\n`).join("");
      const loaded = ask(restored(`${iptables}-restore --noflush`, `*filter\n:CW -\n${rules}COMMIT\n`));
      note(UPDATE_COST.rule, (loaded - commit) / PARTS);
      node.run(`${iptables} -w -F CW; ${iptables} -w -X CW`);
      if (!(await proceed())) break;
    }
  } finally {
    await node.close();
  }
  return costs.coefficients();
}
