/** The address beside the picture: the one is kept what reproduces the other, whichever changes. */

export interface AddressBar {
  /** With its `#`; empty: there is none. */
  readonly hash: string;
  /** Without a new entry of the history, and without an event. */
  replace(hash: string): void;
}

/** What is typed changes the picture with every key. */
const PAUSE_MS = 300;

export class KeptAddress {
  readonly #bar: AddressBar;
  /** What was written, or shown, last: any other address is somebody's who follows a link. */
  #own: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Counts what happens, so that an encoding that was begun before does not write what is old. */
  #turn = 0;
  /** Counts links, so that one that takes long to read is not shown after one that was followed later. */
  #links = 0;

  /** `shown`: the address whose picture is there. */
  constructor(bar: AddressBar, shown: string) {
    this.#bar = bar;
    this.#own = shown;
  }

  /** The picture has changed; `hashOf` encodes it, after a pause. */
  write(hashOf: () => Promise<string>): void {
    const turn = this.#begin();
    this.#timer = setTimeout(async () => {
      const hash = await hashOf();
      // Somebody follows a link: to write over it now would lose it before `hashchange` is heard.
      if (turn !== this.#turn || this.#bar.hash !== this.#own) return;
      this.#own = hash;
      this.#bar.replace(hash);
    }, PAUSE_MS);
  }

  /** `hashchange` is heard. Another address than the one that is shown is read and shown, if no other is followed meanwhile. */
  async follow<Picture>(
    read: (hash: string) => Promise<Picture>,
    show: (picture: Picture) => Promise<void> | void,
  ): Promise<void> {
    if (this.#bar.hash === this.#own) return;
    this.#begin();
    this.#own = this.#bar.hash;
    const link = ++this.#links;
    const picture = await read(this.#own);
    if (link === this.#links) await show(picture);
  }

  #begin(): number {
    clearTimeout(this.#timer);
    return ++this.#turn;
  }
}
