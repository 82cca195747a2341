// Screenshots of every page in both themes and two widths. Arguments: server, folder, slugs.
// With ASSAY_DASHBOARD_DIR set the dashboard's files are taken from there, to see a change at once.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [, , url, folder, ...paths] = process.argv;
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const dir = process.env.ASSAY_DASHBOARD_DIR;
for (const theme of ["light", "dark"]) {
  for (const width of [1280, 360]) {
    const context = await browser.newContext({ colorScheme: theme, viewport: { width, height: 900 } });
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && console.log(theme, width, message.text()));
    page.on("pageerror", (error) => console.log(theme, width, error.stack));
    if (dir) {
      const types = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
      await page.route("**/ui/*", (route) => {
        const name = new URL(route.request().url()).pathname.slice(4);
        route.fulfill({ body: readFileSync(`${dir}/${name}`), contentType: types[name.split(".").pop()] });
      });
    }
    for (const path of paths) {
      await page.goto(url + path);
      await page.waitForSelector("#main[data-ready]", { timeout: 10_000 }).catch(() => console.log("not ready", path));
      await page.waitForTimeout(300);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) console.log(`${path} is ${wide} px too wide at ${width}`);
      const name = path.replace(/[^a-z0-9]+/gi, "_").slice(0, 40) || "_";
      await page.screenshot({ path: `${folder}/${name}-${theme}-${width}.png`, fullPage: true, clip: { x: 0, y: Number(process.env.FROM ?? 0), width, height: 1500 } });
    }
    await context.close();
  }
}
await browser.close();
