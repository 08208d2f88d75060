/** The verbs. A verb's module is loaded when the verb is used, so that none pays for the others' start-up. */
import type { Command } from "commander";
import type { Session } from "./session.ts";

export interface Verb {
  readonly name: string;
  readonly summary: string;
  load(): Promise<VerbModule>;
}

export interface VerbModule {
  /** Gives the command its flags and its action. */
  define(command: Command, session: Session): void;
}

export const VERBS: readonly Verb[] = [
  { name: "validate", summary: "every issue of the manifests, all at once", load: () => import("./validate.ts") },
  { name: "lint", summary: "rules and policies that change nothing", load: () => import("./lint.ts") },
  { name: "trace", summary: "walk one packet, or many, and say what decided", load: () => import("./trace.ts") },
  { name: "matrix", summary: "the truth table of all pod pairs", load: () => import("./matrix.ts") },
  { name: "compile", summary: "print the program of one node", load: () => import("./compile.ts") },
  { name: "compare", summary: "where strategies part, and what each costs", load: () => import("./compare.ts") },
  { name: "import", summary: "read a real node's iptables-save and ipset save", load: () => import("./import.ts") },
  { name: "verify", summary: "prove that programs mean what the policies say", load: () => import("./verify.ts") },
  {
    name: "replay",
    summary: "recorded traffic against policies, and a change of them",
    load: () => import("./replay.ts"),
  },
  {
    name: "fuzz",
    summary: "random clusters and packets, until two that must agree do not",
    load: () => import("./fuzz.ts"),
  },
  { name: "bench", summary: "measure speed, beside peers and targets", load: () => import("./bench.ts") },
  { name: "timeline", summary: "what a changing cluster's packets meet", load: () => import("./timeline.ts") },
  { name: "serve", summary: "the page where the packet walks, on this machine", load: () => import("./serve.ts") },
  { name: "test", summary: "run scenarios", load: () => import("./test.ts") },
  { name: "traffic", summary: "make traffic between pods, from a seed", load: () => import("./traffic.ts") },
  { name: "strategies", summary: "list the network solutions", load: () => import("./strategies.ts") },
  { name: "completion", summary: "print a completion script for a shell", load: () => import("./completion.ts") },
  { name: "version", summary: "print the version", load: () => import("./version.ts") },
];
