"""`basicsr view`: a page that shows an image at any magnification, rendered as one looks."""
