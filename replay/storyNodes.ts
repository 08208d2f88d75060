/** The nodes of a cluster under one solution, taken through a story by the updates of their own controllers. */
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { ConnectionFlush } from "../compiler/update/operation.ts";
import type { Program } from "../dataplane/program.ts";
import type { Story, StoryStep } from "../verify/story.ts";
import { NodeLife } from "../verify/timeline/nodeLife.ts";

export interface StoryNodesOptions {
  readonly strategy: Strategy;
  readonly settings?: ReadonlyMap<string, string>;
  /** These nodes alone; undefined: every node that the cluster has at some time. */
  readonly nodes?: readonly string[];
}

export class StoryNodes {
  readonly #lives: ReadonlyMap<string, NodeLife>;

  constructor(story: Story, { strategy, settings, nodes }: StoryNodesOptions) {
    this.#lives = new Map(
      (nodes ?? nodeNames(story)).map((node) => [
        node,
        new NodeLife(story, { strategy, node, ...(settings !== undefined && { settings }) }),
      ]),
    );
  }

  /** Of all nodes; one that the cluster does not have now has no address, and meets no packet. It remembers its connections. */
  get programs(): readonly Program[] {
    return [...this.#lives.values()].map(({ program }) => program);
  }

  /** The next step of the story; by node, the connections that its solution makes it forget. */
  step(step: StoryStep): ReadonlyMap<string, readonly ConnectionFlush[]> {
    const flushes = new Map<string, readonly ConnectionFlush[]>();
    for (const [name, life] of this.#lives) {
      const own = life.pass(step);
      if (own.length > 0) flushes.set(name, own);
    }
    return flushes;
  }
}

/** The nodes that the cluster has at some time of the story. */
export function nodeNames({ start, steps }: Story): readonly string[] {
  return [
    ...new Set(
      [start, ...steps.map(({ cluster }) => cluster)].flatMap(({ model }) => model.nodes.map(({ name }) => name)),
    ),
  ];
}
