/** What both workers do: questions in, answers out. */
import { config } from "zod/mini";
import { isUsersMistake } from "./engine/refusal.ts";
import type { Kind, Questions, Reply, Request } from "./messages.ts";

/** Who answers which kinds of questions. */
export type Answers<Known extends Kind> = {
  readonly [K in Known]: (ask: Questions[K]["ask"]) => Questions[K]["answer"] | Promise<Questions[K]["answer"]>;
};

/** Answers from now on. */
export function answerWith<Known extends Kind>(answers: Answers<Known>): void {
  // Compiled validators need `eval`, which the page's policy forbids.
  config({ jitless: true });
  self.addEventListener("message", async ({ data }: MessageEvent<Request<Known>>) =>
    self.postMessage(await replyTo(answers, data)),
  );
}

async function replyTo<Known extends Kind, K extends Known>(
  answers: Answers<Known>,
  { id, kind, ask }: Request<K>,
): Promise<Reply> {
  try {
    return { id, kind: "answer", answer: await answers[kind](ask) };
  } catch (error) {
    if (isUsersMistake(error)) return { id, kind: "refusal", message: error.message, isBug: false };
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { id, kind: "refusal", message, isBug: true };
  }
}
