/** The page's manners: keyboard, accessibility, narrow screens, the single file, and what it may ask of whom. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { isWhole, sampled } from "../extent.ts";
import { openScenario, type PageUnderTest, verdictOn } from "./browser.ts";

/** Of the browser, in functions that are evaluated there; the types of the whole DOM would be the compiler's as well. */
interface Element {
  readonly textContent: string | null;
  readonly scrollWidth: number;
  readonly clientWidth: number;
  getAttribute(name: string): string | null;
  closest(selector: string): Element | null;
}
declare const document: { readonly activeElement: Element | null; readonly documentElement: Element };

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const SCHEMES = ["light", "dark"] as const;

interface ViewCase {
  readonly name: string;
  readonly open: (page: Page) => Promise<void>;
  readonly close?: (page: Page) => Promise<void>;
}

/** Views that are fetched when they are looked at, and something that is in them. */
const APART = [
  ["Matrix", "canvas"],
  ["Timeline", "#timeline-title"],
  ["Replay", "#recording"],
  ["Compare", ".report .text"],
] as const;

const tab = (page: Page, name: string) => page.locator(".tabs button", { hasText: name }).click();

/** Each with something in it. */
const VIEWS: readonly ViewCase[] = [
  { name: "walk", open: (page) => page.locator(".walk").waitFor() },
  {
    name: "paste a node",
    open: async (page) => {
      await page.getByRole("button", { name: "Paste a node" }).click();
      await page.locator("dialog[open]").waitFor();
    },
    close: (page) => page.getByRole("button", { name: "Cancel" }).click(),
  },
  {
    name: "matrix",
    open: async (page) => {
      await tab(page, "Matrix");
      await page.locator(".matrix-box").focus();
      await page.locator("#matrix-cell b, #matrix-cell span").first().waitFor();
    },
  },
  {
    name: "compare",
    open: async (page) => {
      await tab(page, "Compare");
      await page.locator(".report .text").waitFor();
    },
  },
  {
    name: "timeline",
    open: async (page) => {
      await tab(page, "Timeline");
      await page.locator("#scrubber").waitFor();
    },
  },
  {
    name: "replay",
    open: async (page) => {
      await tab(page, "Replay");
      await page.locator("#recording").setInputFiles("scenarios/recorded-shop/shop.pcap");
      await page.locator(".report .text").waitFor();
    },
  },
];

/** What axe-core finds on the page as it stands, in words. */
async function violations(page: Page): Promise<readonly string[]> {
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(): Promise<{
          violations: { id: string; impact: string; nodes: { target: unknown; failureSummary?: string }[] }[];
        }>;
      };
    };
    const found = await axe.run();
    return found.violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(
        ({ id, nodes }) =>
          `${id}: ${JSON.stringify(nodes.slice(0, 3).map(({ target, failureSummary }) => [target, failureSummary]))}`,
      );
  });
}

/** Presses the tab key until what has the focus is called so. */
async function focus(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press("Tab");
    const label = await page.evaluate(() => {
      const at = document.activeElement;
      // After the last thing to reach comes the document itself, whose text is everything.
      if (at?.closest("#page") === null) return "";
      return at?.getAttribute("aria-label") ?? at?.closest("label")?.textContent ?? at?.textContent ?? "";
    });
    if (label.includes(name)) return;
  }
  throw new Error(`the tab key does not lead to ${name}`);
}

export function testManners(opened: () => PageUnderTest): void {
  it.runIf(isWhole)("says that a link is damaged, and leads from loading to a walk by the keyboard alone", async () => {
    const page = await opened().open("#bm90IGEgbGluaw");
    await page.getByText("the link is damaged").waitFor();
    await page.locator("#verdict").waitFor();
    await focus(page, "From");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("default/intruder");
    await focus(page, "To");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("default/db");
    await focus(page, "Port");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("3306");
    await page.keyboard.press("Enter");
    await expect.poll(() => page.locator(".packet-line").textContent()).toContain("default/intruder");
    await expect.poll(() => verdictOn(page)).toMatch(/drop|reject/);
    await focus(page, "First step");
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => page.locator(".walk [role=status]").textContent()).toMatch(/^step 1 of/);
    await page.context().close();
  });

  it("axe finds nothing serious in any view; at 390 pixels nothing scrolls sideways but what is meant to", async () => {
    // The policy of the page lets in no script of others, this one included.
    const page = await opened().open("", { colorScheme: "light", bypassCSP: true });
    await page.locator("#verdict").waitFor();
    await page.addScriptTag({ path: AXE });
    await page.locator("#scenario").selectOption("rule-in-front");
    await page.locator(".steps", { hasText: "NetworkPolicy" }).waitFor();
    for (const [turn, { name, open, close }] of sampled(VIEWS, 3).entries()) {
      await open(page);
      for (const colorScheme of isWhole ? SCHEMES : SCHEMES.slice(turn % 2, (turn % 2) + 1)) {
        await page.emulateMedia({ colorScheme });
        expect(await violations(page), `${name}, ${colorScheme}`).toEqual([]);
      }
      await page.setViewportSize({ width: 390, height: 844 });
      const [scroll, client] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        document.documentElement.clientWidth,
      ]);
      expect(scroll, name).toBeLessThanOrEqual(client ?? 0);
      await page.setViewportSize({ width: 1400, height: 1000 });
      await close?.(page);
    }
    await page.context().close();
  });

  it.runIf(isWhole)("the keyboard alone leads through every view", async () => {
    const page = await opened().open("");
    await page.locator("#verdict").waitFor();
    await page.locator("#scenario").selectOption("rule-in-front");
    await page.locator(".steps", { hasText: "NetworkPolicy" }).waitFor();
    const press = async (name: string, key = "Enter") => {
      await focus(page, name);
      await page.keyboard.press(key);
    };
    await press("Paste a node");
    await page.locator("dialog[open]").waitFor();
    await focus(page, "ipset save");
    await page.keyboard.press("Escape");
    await page.locator("dialog[open]").waitFor({ state: "detached" });
    await press("Timeline");
    await page.locator("#scrubber").waitFor();
    await press("Moment of the story", "ArrowRight");
    await press("walk it here");
    const isWalking = () => page.locator(".tabs [aria-current=page]", { hasText: "Walk" }).waitFor();
    await isWalking();
    await page.locator(".packet-line").waitFor();
    await press("Compare");
    await page.locator(".examples").waitFor();
    const example = page.locator(".examples button").first();
    // Where strategies agree there is nothing to choose, and the report itself can be reached.
    if ((await example.count()) > 0) {
      await press((await example.textContent()) ?? "nothing");
      await isWalking();
    } else await focus(page, "Report of compare");
    await press("Matrix");
    await focus(page, "Matrix of");
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => page.locator("#matrix-cell b").count()).toBe(1);
    await press("Replay");
    await focus(page, "Open a capture");
    await focus(page, "After");
    await page.context().close();
  });

  it.runIf(isWhole)("works as one file from the disk", async () => {
    const page = await opened().open(pathToFileURL(join(opened().folder, "chainwalk.html")).href);
    await page.locator("#verdict").waitFor();
    await openScenario(page, "end-port");
    await expect.poll(() => verdictOn(page)).toMatch(/accept|drop|reject/);
    // The other form fetches views when they are looked at; this one has nothing beside it.
    for (const [name, part] of sampled(APART, 1)) {
      await tab(page, name);
      await page.locator(part).waitFor({ state: "attached" });
    }
    await page.context().close();
  });

  it.runIf(isWhole)("stops a worker that does not answer, and goes on with another", async () => {
    const page = await opened().open("about:blank");
    // Its clock is the test's, which need not wait.
    await page.clock.install();
    let isFirst = true;
    await page.route("**/assets/worker-*.js", async (route) => {
      const body = isFirst ? "onmessage = () => { for (;;); };" : undefined;
      isFirst = false;
      await (body === undefined ? route.continue() : route.fulfill({ body, contentType: "text/javascript" }));
    });
    const asked = page.waitForRequest("**/assets/worker-*.js");
    await page.goto(`${opened().address}/`);
    await asked;
    await page.clock.fastForward(9_000);
    expect(await page.getByText("was stopped").count()).toBe(0);
    await page.clock.fastForward(1_500);
    await page.getByText("took longer than 10 s and was stopped").waitFor();
    await openScenario(page, "end-port");
    await expect.poll(() => verdictOn(page)).toMatch(/accept|drop|reject/);
    await page.context().close();
  });

  it("is under a policy without inline script or eval, and answers to its own name alone", async () => {
    const { address } = opened();
    const { headers } = await fetch(address);
    const policy = headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy.split("; ")).toContain("script-src 'self'");
    expect(policy).not.toContain("unsafe");
    const { hostname, port } = new URL(address);
    const [response] = (await once(
      request({ hostname, port, headers: { host: "elsewhere.example" } }).end(),
      "response",
    )) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(403);
  });
}
