/** The page at `/`. */
import { App } from './app.ts';

new App().start();
