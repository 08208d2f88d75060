/**
 * The page's side of the worker: one question at a time, in order. A question that takes too long costs the worker its
 * life; the next one is made, and loads what was loaded. A question that a newer one of its kind has overtaken before its
 * turn is never asked.
 */
import type { Kind, LoadAsk, Questions, Reply, Request } from "./messages.ts";

export class Overtaken extends Error {
  override readonly name = "Overtaken";
}

/** The person asked for something that cannot be had, or waits for something that takes too long. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly isBug: boolean;

  constructor(message: string, isBug = false) {
    super(message);
    this.isBug = isBug;
  }
}

/** Longest time of a question, by kind. A proof of a large cluster takes its time, and so does compiling all its nodes. */
const PATIENCE_MS: Readonly<Record<Kind, number>> = {
  load: 10_000,
  walk: 10_000,
  next: 5_000,
  set: 5_000,
  matrix: 60_000,
  compare: 120_000,
  timeline: 120_000,
  replay: 120_000,
};

interface Waiting {
  readonly kind: Kind;
  readonly ask: Questions[Kind]["ask"];
  /** Of the same kind: questions that do not stand for each other have another. */
  readonly lane: string;
  readonly resolve: (answer: Questions[Kind]["answer"]) => void;
  readonly reject: (error: Error) => void;
}

export class Client {
  readonly #make: () => Worker;
  readonly #patience: Readonly<Record<Kind, number>>;
  #worker: Worker | undefined;
  #waiting: Waiting[] = [];
  #running: Waiting | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #id = 0;
  /** What the next worker has to load before it can answer anything else. */
  #loaded: LoadAsk | undefined;

  /** `patience`: where it is another than that of a person who waits for the answer. */
  constructor(make: () => Worker, patience: Partial<Record<Kind, number>> = {}) {
    this.#make = make;
    this.#patience = { ...PATIENCE_MS, ...patience };
  }

  ask<K extends Kind>(kind: K, ask: Questions[K]["ask"], lane: string = kind): Promise<Questions[K]["answer"]> {
    return new Promise((resolve, reject) => {
      const overtaken = this.#waiting.filter((waiting) => waiting.lane === lane);
      this.#waiting = this.#waiting.filter((waiting) => waiting.lane !== lane);
      for (const waiting of overtaken) waiting.reject(new Overtaken());
      this.#waiting.push({
        kind,
        ask,
        lane,
        // The reply to a question of a kind is of that kind: the worker's table of answers has the types.
        resolve: resolve as Waiting["resolve"],
        reject,
      });
      this.#next();
    });
  }

  /** Ends what is running: the person does not want to wait. */
  cancel(): void {
    this.#kill(new Refused("stopped"));
  }

  /** Ends what is running if it is of that lane: nobody waits for it any more. */
  drop(lane: string): void {
    if (this.#running?.lane === lane) this.#kill(new Overtaken());
  }

  #next(): void {
    if (this.#running !== undefined) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    this.#running = waiting;
    if (this.#worker === undefined) {
      this.#worker = this.#start();
      // A reply to it is nobody's: its number is none that is waited for.
      if (waiting.kind !== "load" && this.#loaded !== undefined) this.#post("load", this.#loaded, 0);
    }
    if (waiting.kind === "load") this.#loaded = waiting.ask as LoadAsk;
    this.#post(waiting.kind, waiting.ask, ++this.#id);
    this.#timer = setTimeout(() => {
      // What takes too long to load would take too long again.
      if (waiting.kind === "load") this.#loaded = undefined;
      this.#kill(new Refused(`took longer than ${this.#patience[waiting.kind] / 1_000} s and was stopped`));
    }, this.#patience[waiting.kind]);
  }

  #post(kind: Kind, ask: Questions[Kind]["ask"], id: number): void {
    const request: Request = { id, kind, ask };
    this.#worker?.postMessage(request);
  }

  #start(): Worker {
    const worker = this.#make();
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
      if (worker !== this.#worker || data.id !== this.#id || data.id === 0) return;
      this.#settle(data);
    });
    worker.addEventListener("error", (event) => {
      if (worker === this.#worker) this.#kill(new Refused(`the worker failed: ${event.message}`));
    });
    return worker;
  }

  #settle(reply: Reply): void {
    const running = this.#running;
    clearTimeout(this.#timer);
    this.#running = undefined;
    if (reply.kind === "answer") running?.resolve(reply.answer);
    else running?.reject(new Refused(reply.message, reply.isBug));
    this.#next();
  }

  #kill(why: Error): void {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = undefined;
    const running = this.#running;
    this.#running = undefined;
    running?.reject(why);
    this.#next();
  }
}
