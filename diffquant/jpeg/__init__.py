"""The JPEG codec's parts: blocks and sampling, the decoder as a model, entropy coding, the choice of coefficients."""
