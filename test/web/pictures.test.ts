/** Takes the pictures of the page that the documentation shows: `npm run docs:pictures` writes them into docs/pictures. */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../built.ts";
import { hasBrowser, PageUnderTest } from "./browser.ts";

const isWritten = process.env.CHAINWALK_PICTURES === "1";

const PICTURES = [
  {
    name: "walk-light",
    colorScheme: "light",
    scenario: "db-policy",
    strategy: "kube-router",
    width: 1400,
    height: 1560,
  },
  {
    name: "walk-dark",
    colorScheme: "dark",
    scenario: "db-policy",
    strategy: "kube-router",
    width: 1400,
    height: 1560,
  },
  {
    name: "maps-light",
    colorScheme: "light",
    scenario: "db-policy",
    strategy: "cilium-ebpf",
    width: 1400,
    height: 1560,
  },
  {
    name: "narrow-light",
    colorScheme: "light",
    scenario: "db-policy",
    strategy: "kube-router",
    width: 390,
    height: 1700,
  },
] as const;

describe.runIf(isWritten && hasBrowser())("pictures of the page", () => {
  let under: PageUnderTest;
  const folder = join(ROOT, "docs", "pictures");

  beforeAll(async () => {
    mkdirSync(folder, { recursive: true });
    under = await PageUnderTest.start();
  });

  afterAll(async () => {
    await under.end();
  });

  it.each(PICTURES)("$name", async ({ name, colorScheme, scenario, strategy, width, height }) => {
    const page = await under.open("", { colorScheme, viewport: { width, height }, reducedMotion: "reduce" });
    await page.locator("#scenario").selectOption(scenario);
    await page.locator("#strategy").selectOption(strategy);
    // The first packet that the policies refuse.
    await page.locator("[data-step]:has(.dot.drop)").first().click();
    await page.locator(`.others [aria-current=true]`, { hasText: strategy }).waitFor();
    await page.waitForTimeout(500);
    const path = join(folder, `${name}.png`);
    await page.screenshot({ path });
    expect(statSync(path).size).toBeGreaterThan(20_000);
    await page.context().close();
  });
});
