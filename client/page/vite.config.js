/** Bundles the page, whose code is compiled before, into `dist/page/`. */
export default {
  root: import.meta.dirname,
  base: './',
  publicDir: '../../dist/page_sample',
  build: {
    outDir: '../../dist/page',
    emptyOutDir: true,
    target: 'es2023',
    // The page's policy forbids code and pictures inside of other files.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
  },
};
