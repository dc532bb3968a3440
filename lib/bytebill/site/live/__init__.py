"""What runs in the page itself? The calculator and the chapters' key cells, by Python in the browser."""
