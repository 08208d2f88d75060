/** The page in a real browser: what it shows is what the command line prints, and its manners. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Loaded, StrategyWalk } from "../../web/messages.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { isWhole, sampled } from "../extent.ts";
import { SCENARIOS } from "../verify/bundled.ts";
import { hasBrowser, openScenario, PageUnderTest, verdictOn } from "./browser.ts";
import { testLarge } from "./large.ts";
import { testManners } from "./manners.ts";
import { testOpened } from "./opened.ts";
import { testReplays } from "./replays.ts";
import { testReports } from "./reports.ts";

/** Of the browser, in functions that are evaluated there; the types of the whole DOM would be the compiler's as well. */
interface WorkerReply {
  readonly data: { readonly kind: string; readonly answer: unknown; readonly message: string };
}
interface Engine {
  onmessage: (reply: WorkerReply) => void;
  onerror: (error: { readonly message: string }) => void;
  postMessage(message: unknown): void;
}
declare const Worker: new (url: string) => Engine;

/** What `trace -o jsonl` prints of a packet. */
interface Printed {
  readonly index: number;
  readonly strategy: string;
  readonly verdict: string;
  readonly ctState: string;
  readonly decidedBy?: {
    readonly node: string;
    readonly table?: string;
    readonly chain?: string;
    readonly rule?: number;
    readonly map?: string;
    readonly key?: string;
  };
}

/** As `trace` words it. */
function decisionOf({ decidedBy }: Printed): string | undefined {
  if (decidedBy === undefined) return undefined;
  const { node, table, chain, rule, map, key } = decidedBy;
  if (table !== undefined) return `on ${node} by ${table} ${chain} rule ${rule}`;
  return key === "" || key === undefined
    ? `on ${node} by ${map}, which has no entry for it`
    : `on ${node} by ${map} key ${key}`;
}

const KNOWN = new Map<string, Promise<readonly Printed[]>>();

function printed(scenario: string): Promise<readonly Printed[]> {
  const found = KNOWN.get(scenario) ?? print(scenario);
  KNOWN.set(scenario, found);
  return found;
}

async function print(scenario: string): Promise<readonly Printed[]> {
  const folder = `scenarios/${scenario}`;
  const { out } = await chainwalk(`trace -f ${folder} --packets ${folder}/scenario.yaml -s all,reference -o jsonl -q`);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Printed);
}

/** Those with packets; others are clusters for other commands. */
const STORIES = SCENARIOS.filter((name) => existsSync(join("scenarios", name, "scenario.yaml")));

/** Drawing takes a second each; the worker's answers are compared for all. */
const DRAWN = STORIES.filter((_, index) => index % (isWhole ? 8 : 40) === 0);

describe.runIf(hasBrowser())("the page in a browser", () => {
  let under: PageUnderTest;
  let page: Page;
  /** What the page had asked for when it showed its first walk, with its bytes on the wire. */
  let fetched: readonly { readonly name: string; readonly bytes: number }[] = [];

  beforeAll(async () => {
    under = await PageUnderTest.start();
    page = await under.open("");
    await page.locator("[data-step]").first().waitFor();
    await page.locator("#verdict").waitFor();
    fetched = await page.evaluate(() =>
      performance
        .getEntries()
        .filter(({ entryType }) => /^(?:navigation|resource)$/.test(entryType))
        .map((entry) => entry.toJSON() as { readonly name: string; readonly encodedBodySize: number })
        .filter(({ name }) => name.startsWith("http"))
        .map(({ name, encodedBodySize }) => ({ name, bytes: encodedBodySize })),
    );
  });

  afterAll(async () => {
    await under.end();
  });

  it.each(sampled(STORIES, 2))("%s: every strategy and packet gets the command line's answer", async (scenario) => {
    const folder = join("scenarios", scenario);
    const files = readdirSync(folder)
      .filter((name) => name.endsWith(".yaml") && name !== "scenario.yaml")
      .map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }));
    const story = { name: "scenario.yaml", text: readFileSync(join(folder, "scenario.yaml"), "utf8") };
    // Asked of the page's own worker, without drawing it: a sample of what is drawn is below.
    const answers = await page.evaluate(
      async ({ files: manifests, story: scenarioFile }) => {
        const url = performance
          .getEntriesByType("resource")
          .map(({ name }) => name)
          .find((name) => /worker-[^/]*\.js$/.test(name));
        const kept = globalThis as unknown as { engine?: Engine };
        kept.engine ??= new Worker(url ?? "");
        const worker = kept.engine;
        let id = 0;
        const ask = <T>(kind: string, what: unknown) =>
          new Promise<T>((resolve, reject) => {
            worker.onmessage = ({ data }) =>
              data.kind === "answer" ? resolve(data.answer as T) : reject(new Error(data.message));
            worker.onerror = ({ message }) => reject(new Error(message));
            worker.postMessage({ id: ++id, kind, ask: what });
          });
        const loaded = await ask<Loaded>("load", { files: manifests, scenario: scenarioFile, saved: undefined });
        const strategies = loaded.strategies.map(({ name }) => name);
        const walks: (readonly StrategyWalk[])[] = [];
        for (const step of loaded.steps.filter(({ kind }) => kind === "packet")) {
          const target = { kind: "scenario", step: step.number };
          walks.push(await ask<readonly StrategyWalk[]>("walk", { strategies, target, walks: false }));
        }
        return walks;
      },
      { files, story },
    );
    const shown = answers.flatMap((walks, index) =>
      walks
        .filter(({ absent }) => absent === undefined)
        .map(({ strategy, verdict: got, ctState, decision }) => ({ index, strategy, verdict: got, ctState, decision })),
    );
    const told = (await printed(scenario)).map((one) => ({
      index: one.index,
      strategy: one.strategy,
      verdict: one.verdict,
      ctState: one.ctState,
      decision: decisionOf(one),
    }));
    const inOrder = (list: typeof told) =>
      list.toSorted((a, b) => a.index - b.index || (a.strategy < b.strategy ? -1 : 1));
    expect(told.length).toBeGreaterThan(0);
    expect(inOrder(shown as typeof told)).toEqual(inOrder(told));
  });

  it("draws verdict and deciding rule of the step that is chosen, under the strategy that is chosen", async () => {
    for (const [turn, scenario] of DRAWN.entries()) {
      const all = await printed(scenario);
      await openScenario(page, scenario);
      const strategies = [...new Set(all.map(({ strategy }) => strategy))];
      const strategy = strategies[turn % strategies.length] ?? "reference";
      const wanted = all.filter((one) => one.strategy === strategy).at(-1);
      if (wanted === undefined) throw new Error(`nothing printed for ${scenario}`);
      await page.locator("#strategy").selectOption(strategy);
      const buttons = page.locator("[data-step]");
      await buttons.nth(wanted.index).click();
      await expect.poll(() => verdictOn(page), { message: scenario }).toBe(wanted.verdict);
      const decision = decisionOf(wanted);
      if (decision !== undefined) await expect.poll(() => page.locator("#decision").textContent()).toBe(decision);
    }
  });

  it("shows an error at its line, and recovers", async () => {
    await openScenario(page, "db-policy");
    await page.locator("#strategy").selectOption("kube-router");
    await page.locator(".cm-content").click();
    await page.keyboard.press("Control+Home");
    await page.keyboard.type("kind: [\n");
    const issue = page.locator(".issues li.error").first();
    await issue.waitFor();
    expect(await issue.textContent()).toMatch(/cluster\.yaml:\d+:\d+ error/);
    // The editor marks it in a pass of its own.
    await page.locator(".cm-lintRange-error, .cm-lint-marker-error").first().waitFor({ state: "attached" });
    // What was there stays, and is said to be old.
    const note = page.getByText("What stands here is of them as they were before");
    await note.waitFor();
    expect(await page.getByRole("heading", { name: "Cluster" }).isVisible()).toBe(true);
    // How many keys an undo takes back depends on how fast they came.
    for (let undone = 0; undone < 12; undone++) await page.keyboard.press("Control+z");
    await page.locator(".issues li.error").waitFor({ state: "detached" });
    await note.waitFor({ state: "detached" });
    await expect.poll(() => verdictOn(page)).toBe("accept");
  });

  it("gives a link that shows the same in another browser", async () => {
    await openScenario(page, "db-policy");
    await page.locator("#strategy").selectOption("calico-iptables");
    await page.locator("[data-step]").nth(2).click();
    await expect.poll(() => page.locator("#decision").textContent()).toContain("cali-");
    await page.getByRole("button", { name: "Copy link" }).click();
    await page.getByText(/^(Copied|It is in the address)$/).waitFor();
    const other = await under.open(new URL(page.url()).hash);
    await other.locator("#verdict").waitFor();
    for (const what of ["#verdict", "#decision", "#state"]) {
      expect(await other.locator(what).textContent()).toBe(await page.locator(what).textContent());
    }
    await other.context().close();
  });

  it("draws a pod's packet to itself as a loop beside it, and no work where there is none", async () => {
    await page.getByLabel("From", { exact: true }).fill("default/db");
    await page.getByLabel("To", { exact: true }).fill("default/db");
    await page.getByLabel("To", { exact: true }).press("Enter");
    await expect.poll(() => page.locator(".arrow > path").getAttribute("d")).toMatch(/^M[\d.]+ [\d.]+C/);
    expect(await page.locator("dl.cost dt").allTextContents()).toEqual(["state"]);
  });

  describe("reports", () => {
    testReports(() => page);
    testReplays(() => page);
  });

  describe("--open", () => {
    testOpened(() => under);
  });

  describe("a large cluster", () => {
    testLarge(() => under);
  });

  describe("manners", () => {
    testManners(() => under);
  });

  it("asks no other host and has nothing to complain of", () => {
    expect(under.trouble).toEqual({ console: [], foreign: [] });
  });

  it("has come with under 300 kB, compressed, when the first walk is shown", () => {
    const names = fetched.map(({ name }) => name.replace(/^.*\//, "").replace(/-.*/, "")).sort();
    // Scenarios and the worker of reports are fetched when somebody asks for one.
    expect(names).toEqual(["", "index", "index", "manifests.json", "worker"]);
    expect(fetched.every(({ bytes }) => bytes > 0)).toBe(true);
    // A sample's build is not compressed as well as the one that is published.
    if (isWhole) expect(fetched.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(300_000);
  });
});
