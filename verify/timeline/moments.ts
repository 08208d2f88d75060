/** The states between the first and the last operation of a step, in the order in which packets can meet them. */
import { NodeState } from "../../compiler/update/nodeState.ts";
import type { ConnectionFlush, Operation } from "../../compiler/update/operation.ts";
import type { Attachment, Program } from "../../dataplane/program.ts";

export interface Moment {
  /** Operations done, the one at hand included; 0: pods have come and gone, nothing is done yet. Counted over the step. */
  readonly operation: number;
  /** Parts of that operation done. */
  readonly part: number;
  readonly program: Program;
  readonly flush?: ConnectionFlush;
  /** The operations are done, and pods that went are gone from the node as well. */
  readonly settled?: true;
}

interface Plan {
  readonly operations: readonly Operation[];
  readonly attachment: Attachment;
}

/**
 * A moment for each part that changed the program, or flushed connections. `settled` is how pods hang on the node once
 * the step is over. Throws when the node refuses an operation that has to succeed.
 */
export function momentsOf(before: Program, plans: readonly Plan[], settled: Attachment): readonly Moment[] {
  const state = new NodeState(before);
  const moments: Moment[] = [];
  let done = 0;
  let last = before;
  const look = (operation: number, part: number, more: Pick<Moment, "flush" | "settled"> = {}) => {
    const { program } = state;
    if (program === last && more.flush === undefined) return;
    last = program;
    moments.push({ operation, part, program, ...more });
  };
  for (const { operations, attachment } of plans) {
    state.attach(attachment);
    look(done, 0);
    for (const operation of operations) {
      done++;
      for (const [index, part] of operation.parts.entries()) {
        const refusal = state.run(part);
        if (refusal !== undefined && operation.mayFail !== true) {
          throw new Error(`operation ${done}, ${operation.tool} ${operation.args.join(" ")}: ${refusal}`);
        }
        if (refusal !== undefined) break;
        look(done, index + 1, part.kind === "connections" ? { flush: part.flush } : {});
      }
    }
  }
  state.attach(settled);
  look(done, 0, { settled: true });
  return moments;
}
