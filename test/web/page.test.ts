/** The page in a real browser: what it shows is what the command line prints, and its manners. */
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { brotliCompressSync } from "node:zlib";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Loaded, StrategyWalk } from "../../web/messages.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { isWhole, sampled } from "../extent.ts";
import { SCENARIOS } from "../verify/bundled.ts";
import { hasBrowser, PageUnderTest } from "./browser.ts";

/** Of the browser, in functions that are evaluated there; the types of the whole DOM would be the compiler's as well. */
interface Element {
  readonly textContent: string | null;
  readonly scrollWidth: number;
  readonly clientWidth: number;
  getAttribute(name: string): string | null;
  closest(selector: string): Element | null;
}
declare const document: { readonly activeElement: Element | null; readonly documentElement: Element };
interface WorkerReply {
  readonly data: { readonly kind: string; readonly answer: unknown; readonly message: string };
}
declare const Worker: new (
  url: string,
) => {
  onmessage: (reply: WorkerReply) => void;
  onerror: (error: { readonly message: string }) => void;
  postMessage(message: unknown): void;
  terminate(): void;
};

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

async function printed(scenario: string): Promise<readonly Printed[]> {
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
const DRAWN = STORIES.filter((_, index) => index % (isWhole ? 4 : 24) === 0);

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

describe.runIf(hasBrowser())("the page in a browser", () => {
  let under: PageUnderTest;
  let page: Page;

  beforeAll(async () => {
    under = await PageUnderTest.start();
    page = await under.open("");
    await page.locator("#verdict").waitFor();
  });

  afterAll(async () => {
    await under.end();
  });

  const verdict = (on = page) => on.locator("#verdict").textContent();

  async function openScenario(name: string, on = page): Promise<void> {
    await on.locator("#scenario").selectOption(name);
    await on.locator("[data-step]").first().waitFor();
  }

  it.each(sampled(STORIES, 4))("%s: every strategy and packet gets the command line's answer", async (scenario) => {
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
        const worker = new Worker(url ?? "");
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
        worker.terminate();
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
      await openScenario(scenario);
      const strategies = [...new Set(all.map(({ strategy }) => strategy))];
      const strategy = strategies[turn % strategies.length] ?? "reference";
      const wanted = all.filter((one) => one.strategy === strategy).at(-1);
      if (wanted === undefined) throw new Error(`nothing printed for ${scenario}`);
      await page.locator("#strategy").selectOption(strategy);
      const buttons = page.locator("[data-step]");
      await buttons.nth(wanted.index).click();
      await expect.poll(() => verdict(), { message: scenario }).toBe(wanted.verdict);
      const decision = decisionOf(wanted);
      if (decision !== undefined) await expect.poll(() => page.locator("#decision").textContent()).toBe(decision);
    }
  });

  it("shows an error at its line, and recovers", async () => {
    await openScenario("db-policy");
    await page.locator("#strategy").selectOption("kube-router");
    await page.locator(".cm-content").click();
    await page.keyboard.press("Control+Home");
    await page.keyboard.type("kind: [\n");
    const issue = page.locator(".issues li.error").first();
    await issue.waitFor();
    expect(await issue.textContent()).toMatch(/cluster\.yaml:\d+:\d+ error/);
    expect(await page.locator(".cm-lintRange-error, .cm-lint-marker-error").count()).toBeGreaterThan(0);
    // How many keys an undo takes back depends on how fast they came.
    for (let undone = 0; undone < 12; undone++) await page.keyboard.press("Control+z");
    await page.locator(".issues li.error").waitFor({ state: "detached" });
    await expect.poll(() => verdict()).toBe("accept");
  });

  it("gives a link that shows the same in another browser", async () => {
    await openScenario("db-policy");
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

  it("says that a damaged link is one", async () => {
    const other = await under.open("#bm90IGEgbGluaw");
    await other.getByText("the link is damaged").waitFor();
    await other.context().close();
  });

  it("leads from loading to a walk by the keyboard alone", async () => {
    const other = await under.open("");
    await other.locator("#verdict").waitFor();
    const focus = async (name: string) => {
      for (let presses = 0; presses < 60; presses++) {
        await other.keyboard.press("Tab");
        const label = await other.evaluate(() => {
          const at = document.activeElement;
          return at?.getAttribute("aria-label") ?? at?.closest("label")?.textContent ?? at?.textContent ?? "";
        });
        if (label.includes(name)) return;
      }
      throw new Error(`the tab key does not lead to ${name}`);
    };
    await focus("From");
    await other.keyboard.press("Control+a");
    await other.keyboard.type("default/intruder");
    await focus("To");
    await other.keyboard.press("Control+a");
    await other.keyboard.type("default/db");
    await focus("Port");
    await other.keyboard.press("Control+a");
    await other.keyboard.type("3306");
    await other.keyboard.press("Enter");
    await expect.poll(() => other.locator(".packet-line").textContent()).toContain("default/intruder");
    await expect.poll(() => verdict(other)).toMatch(/drop|reject/);
    await focus("First step");
    await other.keyboard.press("ArrowRight");
    await expect.poll(() => other.locator(".walk [role=status]").textContent()).toMatch(/^step 1 of/);
    await other.context().close();
  });

  it.each(["light", "dark"] as const)("axe finds nothing serious in %s", async (colorScheme) => {
    // The policy of the page lets in no script of others, this one included.
    const other = await under.open("", { colorScheme, bypassCSP: true });
    await other.locator("#verdict").waitFor();
    await other.addScriptTag({ path: AXE });
    const serious = await other.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: {
          run(): Promise<{
            violations: { id: string; impact: string; nodes: { target: unknown; failureSummary?: string }[] }[];
          }>;
        };
      };
      const { violations } = await axe.run();
      return violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(
          ({ id, nodes }) =>
            `${id}: ${JSON.stringify(nodes.slice(0, 3).map(({ target, failureSummary }) => [target, failureSummary]))}`,
        );
    });
    expect(serious).toEqual([]);
    await other.context().close();
  });

  it("is usable at 390 pixels: nothing scrolls sideways but what is meant to", async () => {
    const other = await under.open("", { viewport: { width: 390, height: 844 } });
    await other.locator("#verdict").waitFor();
    const [scroll, client] = await other.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    expect(scroll).toBeLessThanOrEqual(client ?? 0);
    await other.context().close();
  });

  it("works as one file from the disk", async () => {
    const other = await under.open(pathToFileURL(join(under.folder, "chainwalk.html")).href);
    await other.locator("#verdict").waitFor();
    await openScenario("end-port", other);
    await expect.poll(() => verdict(other)).toMatch(/accept|drop|reject/);
    await other.context().close();
  });

  it.runIf(isWhole)("stops a worker that does not answer, and goes on with another", async () => {
    const other = await under.open("about:blank");
    let isFirst = true;
    await other.route("**/assets/worker-*.js", async (route) => {
      const body = isFirst ? "onmessage = () => { for (;;); };" : undefined;
      isFirst = false;
      await (body === undefined ? route.continue() : route.fulfill({ body, contentType: "text/javascript" }));
    });
    await other.goto(`${under.address}/`);
    await other.getByText("took longer than 10 s and was stopped").waitFor();
    await openScenario("end-port", other);
    await expect.poll(() => verdict(other)).toMatch(/accept|drop|reject/);
    await other.context().close();
  });

  it("is under a policy without inline script or eval, and answers to its own name alone", async () => {
    const { headers } = await fetch(under.address);
    const policy = headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy.split("; ")).toContain("script-src 'self'");
    expect(policy).not.toContain("unsafe");
    const { hostname, port } = new URL(under.address);
    const [response] = (await once(
      request({ hostname, port, headers: { host: "elsewhere.example" } }).end(),
      "response",
    )) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(403);
  });

  it("asks no other host and has nothing to complain of", () => {
    expect(under.trouble).toEqual({ console: [], foreign: [] });
  });

  // The aim is 300,000.
  it.runIf(isWhole)("comes in under 330 kB, compressed", () => {
    // The worker of reports is fetched with the first of them.
    const sizes = readdirSync(join(under.folder, "assets"))
      .filter((name) => !name.startsWith("reports-"))
      .map((name) => brotliCompressSync(readFileSync(join(under.folder, "assets", name))).length)
      .reduce((sum, size) => sum + size, 0);
    expect(sizes).toBeLessThan(330_000);
  });
});
