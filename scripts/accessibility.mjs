// Checks pages with axe-core, in light and dark and at two widths, and fails on a serious or critical finding:
//
//     node scripts/accessibility.mjs runs/quickstart/report/report.html
//
// axe-core and puppeteer-core are fetched by npm into a temporary folder; the browser is Chromium on the path, or
// $CHROMIUM. Prints JSON: a finding a line of "findings", with how many elements it holds for and where.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = ["axe-core@4", "puppeteer-core@24"];
const SCHEMES = ["light", "dark"];
const WIDTHS = [400, 1200];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      continue;
    }
  }
  console.error("accessibility: no Chromium on the path; install one, or name it in $CHROMIUM");
  process.exit(2);
}

async function check(browser, axe, file, scheme, width) {
  const page = await browser.newPage();
  await page.setBypassCSP(true); // the page lets no script in, axe-core included
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(resolve(file)).href);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  await page.close();
  return violations.map(({ id, impact, help, nodes }) => ({
    page: file, scheme, width, id, impact, help, elements: nodes.length, where: nodes.slice(0, 3).map((node) => node.target.join(" ")),
  }));
}

const files = process.argv.slice(2);
if (!files.length) {
  console.error("accessibility: name one or more pages, such as runs/quickstart/report/report.html");
  process.exit(2);
}
const executablePath = findChromium();
const folder = mkdtempSync(join(tmpdir(), "accessibility-"));
try {
  execFileSync("npm", ["install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund", "--silent", ...PACKAGES], { stdio: "inherit" });
  const require = createRequire(pathToFileURL(join(folder, "node_modules", "here.js")));
  const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const browser = await require("puppeteer-core").launch({ executablePath, headless: true, args: FLAGS, protocolTimeout: 600_000 });
  const findings = [];
  for (const file of files) for (const scheme of SCHEMES) for (const width of WIDTHS) findings.push(...(await check(browser, axe, file, scheme, width)));
  await browser.close();
  const serious = findings.filter(({ impact }) => impact === "serious" || impact === "critical").length;
  console.log(JSON.stringify({ pages: files.length, checks: files.length * SCHEMES.length * WIDTHS.length, serious, findings }, null, 2));
  process.exitCode = serious ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
