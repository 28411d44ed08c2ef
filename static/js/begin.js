// Starts the page once all its scripts are there.
"use strict";
window.Dash.begin();
