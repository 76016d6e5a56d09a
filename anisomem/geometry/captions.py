"""What stands below the pictures of the geometry, by their names."""

CAPTIONS = {
    "dials": "Closed-form mixtures: AUC of every measure over anisotropy (down) and memorization"
    " (across), by timestep and input.",
    "theorem": "The cosine and the theorem's two bounds on Gaussian pairs by how far they are"
    " displaced, a panel for each condition number.",
    "levels": "AUC of norm and cosines at every step, a panel for each kind of latents, with"
    " pointwise 95% bands.",
    "norms": "The norm of the guidance of memorized and other prompts, at three noise levels, on"
    " pure noise and on noised latents.",
    "overlap": "How far the two distributions of the norm are apart at every step: total variation"
    " and Kullback-Leibler divergence.",
    "alignment": "The mean cosine between guidance and unconditional prediction at every step, for"
    " memorized and other prompts, with 95% bands.",
    "sign": "What the sign of the cosine is made of: cos = q (E − 1) / 2, on scores; medians over"
    " prompts with quartiles.",
    "repetitions": "The cosine at low noise by how often a prompt's picture was in training.",
    "spectra": "Eigenvalues of the Hessian of the log-probability, whole where it was computed"
    " whole, else their ends.",
    "anisotropy": "The anisotropy index of the Hessian by noise level, mean over prompts with 95%"
    " intervals.",
    "maps": "The cosine at every position of the latents, and arrows of score and guidance, over"
    " the decoded true latents.",
    "pairs": "AUC of norm + cosine in equal weights for every pair of steps; marked are the"
    " published pair, the best here, and the one chosen in folds.",
    "input": "How much of prediction and guidance lies along the network's input, by step and"
    " latents; medians over prompts with quartiles.",
    "inputs": "AUC of the cosine's parts on pure noise of other scales and of other sizes.",
}
