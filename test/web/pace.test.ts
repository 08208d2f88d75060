/** Measures how fluid the page stays with 1,000 pods and 500 policies: `npm run bench:page`. Of no run that judges anything. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasBrowser, PageUnderTest, verdictOn } from "./browser.ts";
import { goToLine, type LargeCluster, largeCluster, openLarge, sendLarge } from "./large.ts";

const isMeasured = process.env.CHAINWALK_PACE === "1";
const TURNS = 6;
/** As in web/state.ts. */
const PAUSE_MS = 200;

/** What Chromium writes down of its main thread. */
interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly dur?: number;
  readonly ts: number;
  readonly pid: number;
  readonly tid: number;
  readonly args?: { readonly name?: string };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const worst = (values: readonly number[]) => Math.max(...values);
const said = (name: string, values: readonly number[], unit = "ms") =>
  console.log(`${name}: median ${median(values).toFixed(0)}, worst ${worst(values).toFixed(0)} ${unit}`);

/** The longest task of the page's main thread while something was done, in milliseconds. */
async function longestTask(page: Page, run: () => Promise<void>): Promise<number> {
  const browser = page.context().browser() as Browser;
  await browser.startTracing(page, { categories: ["toplevel", "__metadata"] });
  try {
    await run();
  } catch (error) {
    await browser.stopTracing();
    throw error;
  }
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    readonly traceEvents: readonly TraceEvent[];
  };
  const mains = new Set(
    traceEvents
      .filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain")
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasks = traceEvents.filter(({ name, pid, tid }) => /RunTask$/.test(name) && mains.has(`${pid} ${tid}`));
  expect(tasks.length).toBeGreaterThan(0);
  return worst(tasks.map(({ dur = 0 }) => dur / 1_000));
}

/** Of the browser, in functions that are evaluated there. */
interface Watch {
  typed: number;
  seen: number;
}
interface Element {
  readonly textContent: string | null;
  scrollTop: number;
  addEventListener(name: string, then: () => void, capture: boolean): void;
}
declare const document: { querySelector(selector: string): Element | null; readonly body: Element };
declare const requestAnimationFrame: (then: () => void) => void;
declare const MutationObserver: new (
  then: () => void,
) => { observe(element: Element, options: Record<string, boolean>): void };

describe.runIf(isMeasured && hasBrowser())("the pace of the page with a large cluster", () => {
  let under: PageUnderTest;
  let page: Page;
  let large: LargeCluster;

  beforeAll(async () => {
    large = largeCluster();
    under = await PageUnderTest.start();
    page = await under.open("");
    await page.locator("#verdict").waitFor();
    const start = performance.now();
    await openLarge(page, large);
    console.log(`opened after ${(performance.now() - start).toFixed(0)} ms`);
    await sendLarge(page, large.packet);
    await page.locator("#verdict", { hasText: "accept" }).waitFor();
    // What follows changes what is there: the first compilation under every strategy is not what is measured.
    const names = await page.locator("#strategy option").count();
    await page
      .locator(".others li")
      .nth(names - 1)
      .waitFor({ timeout: 120_000 });
    console.log(`all strategies after ${(performance.now() - start).toFixed(0)} ms`);
    await page.evaluate(() => {
      const watch: Watch = { typed: 0, seen: 0 };
      let shown = document.querySelector("#verdict")?.textContent;
      document.body.addEventListener("keydown", () => (watch.typed = performance.now()), true);
      new MutationObserver(() => {
        const now = document.querySelector("#verdict")?.textContent;
        if (now !== shown) watch.seen = performance.now();
        shown = now;
      }).observe(document.body, { subtree: true, childList: true, characterData: true });
      Object.assign(globalThis, { watch });
    });
  });

  afterAll(async () => {
    await under.end();
  });

  const edits = async (what: string, line: () => number) => {
    const [verdicts, tasks]: [number[], number[]] = [[], []];
    await goToLine(page, line(), large.text);
    for (let turn = 0; turn < TURNS; turn++) {
      const isChanged = turn % 2 === 0;
      const longest = await longestTask(page, async () => {
        await page.keyboard.press(isChanged ? "1" : "Backspace");
        await expect
          .poll(() => verdictOn(page), { interval: 20, timeout: 60_000 })
          .toBe(isChanged ? "reject" : "accept");
        // The other strategies as well.
        await page.waitForTimeout(1_500);
      });
      const { typed, seen } = await page.evaluate(() => (globalThis as unknown as { watch: Watch }).watch);
      verdicts.push(seen - typed - PAUSE_MS);
      tasks.push(longest);
    }
    said(`${what}: from the end of the pause to the verdict`, verdicts);
    said(`${what}: longest task of the main thread`, tasks);
  };

  it("a port of a policy is changed", () => edits("port", () => large.portLine));

  it("a label of a pod is changed", () => edits("label", () => large.labelLine));

  it("the matrix is opened and scrolled", async () => {
    const frames: number[] = [];
    const opened = await longestTask(page, async () => {
      await page.locator(".tabs button", { hasText: "Matrix" }).click();
      await page.locator(".matrix-box canvas").waitFor();
      await page.waitForTimeout(3_000);
    });
    console.log(`matrix: longest task when opened ${opened.toFixed(0)} ms`);
    const scrolled = await longestTask(page, async () => {
      frames.push(
        ...(await page.evaluate(async () => {
          const box = document.querySelector(".matrix-box") as Element;
          const times: number[] = [];
          let before = performance.now();
          for (let frame = 0; frame < 120; frame++) {
            box.scrollTop += 40;
            await new Promise<void>((resolve) => requestAnimationFrame(resolve));
            times.push(performance.now() - before);
            before = performance.now();
          }
          return times;
        })),
      );
    });
    said("matrix: from frame to frame while it scrolls", frames);
    console.log(`matrix: longest task while it scrolls ${scrolled.toFixed(0)} ms`);
  });
});
