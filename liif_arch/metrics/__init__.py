"""PSNR under the field's protocols, SSIM, result tables, plots and comparison pictures."""
