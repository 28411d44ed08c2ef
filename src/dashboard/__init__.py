"""The dashboard's rooms: what a card says, who may press a button, and how the page is served."""
